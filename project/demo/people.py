"""The people who have an account at the demo's provider."""

from __future__ import annotations

from dataclasses import dataclass

PASSWORD = "demo"


@dataclass(frozen=True)
class Person:
    #: The provider's `sub` and its primary key. Fixed, so that pictures are the same every run.
    sub: int
    username: str
    name: str
    groups: tuple[str, ...] = ()

    @property
    def email(self) -> str:
        return f"{self.username}@example.com"

    @property
    def initials(self) -> str:
        return "".join(word[0] for word in self.name.split())


PEOPLE = (
    Person(24400320, "alice", "Alice Moreau"),
    Person(24400417, "bob", "Bob Okafor"),
    Person(24400589, "admin", "Ada Admin", groups=("staff",)),
)
