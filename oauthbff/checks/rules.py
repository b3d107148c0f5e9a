"""How a rule is written: a function that yields what it finds, under an id of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.core.checks import CheckMessage, Error, Warning

#: (sentence, hint): what is wrong, and what to do.
Found = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Rule:
    check: str
    #: Asked by `check --deploy` only.
    deploy: bool
    look: Callable[[], Found]

    def messages(self) -> list[CheckMessage]:
        kind = Error if self.check.startswith("E") else Warning
        name = f"oauthbff.{self.check}"
        return [kind(sentence, hint=hint, id=name) for sentence, hint in self.look()]


RULES: dict[str, Rule] = {}


def rule(check: str, *, deploy: bool = False) -> Callable[[Callable[[], Found]], Rule]:
    """Register a function as the rule with this id. Its docstring is the page's sentence."""

    def register(look: Callable[[], Found]) -> Rule:
        if check in RULES:
            raise ValueError(f"{check} is taken")
        RULES[check] = Rule(check, deploy, look)
        return RULES[check]

    return register
