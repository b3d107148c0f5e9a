"""The pages of docs/ as programs: their files are written, their commands run.

A fence whose first line is a comment with a path is a file (`, at its end`: joined to what is
there). A `console` fence is commands, one per line that starts with `$ `.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.processes import Child

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.S | re.M)
PATH = re.compile(r"(?:#|//|<!--) (\S+\.\w+)(, at its end)?(?: -->)?\n")


SERVERS = re.compile(r"runserver|-m oauthbff\.testing|npm run dev")


@dataclass
class Desk:
    """A folder in which somebody follows a page, in a shell that remembers what was exported."""

    folder: Path
    env: dict[str, str]
    #: Words of the page that are others here, such as port numbers.
    instead: Mapping[str, str] = field(default_factory=dict)

    def follow(self, page: Path) -> Iterator[str]:
        """Do what the page says, fence by fence; yield each command that is a server, to start."""
        for language, text in FENCE.findall(page.read_text()):
            for old, new in self.instead.items():
                text = text.replace(old, new)
            if language == "console":
                yield from self.run(text)
            elif named := PATH.match(text):
                self.write(named[1], text, more=bool(named[2]))

    def write(self, name: str, text: str, *, more: bool) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if more:
            text = f"{path.read_text()}\n{text}"
        path.write_text(text)

    def run(self, text: str) -> Iterator[str]:
        commands = re.findall(r"^\$ (.+)$", text, re.M)
        assert commands, f"nothing to run in {text!r}"
        for command in commands:
            if SERVERS.search(command):
                yield command
            else:
                self.shell(command)

    def shell(self, command: str) -> str:
        """Run a command, keep what it exported, return what it said."""
        exported = self.folder / ".exported"
        done = subprocess.run(
            ["bash", "-c", f"set -eo pipefail\n{command}\nenv -0 > {exported}"],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{command}\n{said}"
        pairs = exported.read_text().rstrip("\0").split("\0")
        self.env = dict(pair.split("=", 1) for pair in pairs)
        exported.unlink()
        return said

    def server(self, command: str) -> Child:
        """A command that does not end by itself, not started yet."""
        log = self.folder / f"{re.sub(r'[^a-z]+', '-', command)}.log"
        words = ["bash", "-c", f"exec {command}"]
        return Child(command, words, env=self.env, cwd=self.folder, log=log)


def outside_the_repository(**more: str) -> dict[str, str]:
    """Surroundings in which nothing of this repository or its venv can be found by accident."""
    kept = {name: os.environ[name] for name in ("LANG", "HOME", "TMPDIR") if name in os.environ}
    path = [
        folder
        for folder in os.environ["PATH"].split(os.pathsep)
        if folder != os.path.join(os.environ.get("VIRTUAL_ENV", "\0"), "bin")
    ]
    pip = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_QUIET": "1"}
    return {**kept, **pip, "PATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1", **more}
