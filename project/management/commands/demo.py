"""`manage.py demo`: the print shop, its provider and its photo API, on this machine.

The command only prepares, starts, watches and ends; it never opens a database.
Who the parts are is in `project.demo.environment`, how they are kept in
`project.demo.processes`.
"""

from __future__ import annotations

import fcntl
import signal
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from project.demo.environment import ROOT, Addresses, Cast, Secrets
from project.demo.people import PASSWORD, PEOPLE
from project.demo.processes import PartFailed, Troupe, is_taken

#: What a run leaves in the data directory, and the next one removes. Nothing else is touched.
LEFT_BEHIND = (
    *("bff.sqlite3*", "provider.sqlite3*", "provider-key.pem", "secrets.json"),
    *("bff.log", "provider.log", "photos.log", "nginx*.log", "caddy*.log"),
)


class Command(BaseCommand):
    help = "Run the example site with a provider and an API of its own. Ctrl-C ends it."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        ports = Addresses()
        parser.add_argument("--bff-port", type=int, default=ports.bff_port)
        parser.add_argument("--provider-port", type=int, default=ports.provider_port)
        parser.add_argument("--api-port", type=int, default=ports.api_port)
        parser.add_argument(
            "--access-token-lifetime",
            type=int,
            default=60,
            metavar="SECONDS",
            help="how long the API accepts an access token (default: 60)",
        )
        parser.add_argument(
            "--edge",
            choices=("nginx", "caddy"),
            default="",
            help="let this proxy carry the calls, and the print shop only decide",
        )
        parser.add_argument("--django-port", type=int, default=ports.django_port)
        parser.add_argument(
            "--data-dir",
            type=Path,
            default=ROOT / ".demo",
            help="databases, logs and secrets go here (default: .demo)",
        )
        parser.add_argument(
            "--keep", action="store_true", help="go on with the data of the last run"
        )

    def handle(self, **options: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        addresses = Addresses(
            bff_port=options["bff_port"],
            provider_port=options["provider_port"],
            api_port=options["api_port"],
            django_port=options["django_port"],
        )
        refuse_taken_ports(addresses, edge=options["edge"])
        try:
            with data_directory(options["data_dir"], keep=options["keep"]) as data_dir:
                cast = Cast(
                    addresses=addresses,
                    secrets=Secrets.kept_in(data_dir / "secrets.json"),
                    data_dir=data_dir,
                    access_token_lifetime=options["access_token_lifetime"],
                    edge=options["edge"],
                )
                self.perform(cast)
        except PartFailed as exc:
            raise CommandError(str(exc)) from exc

    def perform(self, cast: Cast) -> None:
        """Run the demo until somebody ends it. Raises `PartFailed` when a part does."""
        try:
            with Troupe() as troupe:
                self.say("Preparing databases, people and client ...")
                preparations = [cast.provider_preparation, cast.bff_preparation]
                for part in preparations:
                    troupe.start(part)
                for part in preparations:
                    troupe.finish(part)

                self.say("Starting provider, photo API and print shop ...")
                parts = (cast.provider, cast.photos, cast.bff)
                for part in parts:
                    troupe.start(part)
                for part in parts:
                    troupe.wait_until_ready(part)
                if cast.edge:
                    troupe.start(cast.front_preparation)
                    troupe.finish(cast.front_preparation)
                    troupe.start(cast.front)
                    troupe.wait_until_ready(cast.front)

                self.say(boxed(welcome(cast), frame=self.style.SUCCESS))
                troupe.watch()
        except KeyboardInterrupt:
            self.say("\nThe demo has ended.")

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def refuse_taken_ports(addresses: Addresses, *, edge: str) -> None:
    """Raise a `CommandError` that names every port in use, and how to choose another."""
    wanted = {
        "--bff-port": ("the print shop", addresses.bff_port),
        "--provider-port": ("the provider", addresses.provider_port),
        "--api-port": ("the photo API", addresses.api_port),
    }
    if edge:
        wanted["--django-port"] = ("the print shop behind it", addresses.django_port)
    ports = [port for _, port in wanted.values()]
    if len(set(ports)) < len(ports):
        raise CommandError("Each part needs a port of its own.")
    taken = [
        f"Port {port} for {part} is taken. Choose another with {option}."
        for option, (part, port) in wanted.items()
        if is_taken(port)
    ]
    if taken:
        raise CommandError("\n".join(taken))


@contextmanager
def data_directory(path: Path, *, keep: bool) -> Iterator[Path]:
    """Hold the data directory for one run of the demo, emptied of the last one's data."""
    path = path.resolve()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (path / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"Another demo is using {path}. Choose a different --data-dir."
            ) from None
        if not keep:
            for pattern in LEFT_BEHIND:
                for file in path.glob(pattern):
                    file.unlink()
        yield path


def welcome(cast: Cast) -> list[str]:
    addresses = cast.addresses
    refresh_after = cast.access_token_lifetime - cast.refresh_leeway
    names = ", ".join(person.username for person in PEOPLE)
    return [
        f"The print shop is open at  {addresses.bff}/",
        "",
        f"Sign in as   {names}",
        f"Password     {PASSWORD}",
        "",
        "Things to try",
        "  · Sign in as alice: her photos are here, her token is not.",
        "  · Order a print and follow its progress.",
        f"  · Stay for {refresh_after} seconds and watch the token being refreshed.",
        "  · Sign out.",
        "  · Sign in as admin in another browser profile, and revoke",
        f"    Alice's grant at {addresses.bff}/admin/",
        "  · Ask the API yourself, without a token:",
        f"    curl -i {addresses.api}/photos",
        "",
        f"Provider     {addresses.issuer}",
        f"Photo API    {addresses.api}",
        f"Logs         {cast.data_dir}/*.log",
        *([f"Carried by   {cast.edge}, see {cast.front_file}"] if cast.edge else []),
        "",
        "Ctrl-C ends everything.",
    ]


def boxed(lines: list[str], frame: Callable[[str], str]) -> str:
    width = max(map(len, lines))
    bar = "─" * (width + 4)
    side = frame("│")
    inside = [f"{side}  {line:<{width}}  {side}" for line in lines]
    return "\n".join(["", frame(f"╭{bar}╮"), *inside, frame(f"╰{bar}╯"), ""])
