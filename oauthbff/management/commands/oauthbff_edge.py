"""manage.py oauthbff_edge: the configuration of a proxy that carries the API traffic."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from oauthbff.conf import conf
from oauthbff.fronting import PROXIES, Front


class Command(BaseCommand):
    help = (
        "Write a complete configuration of nginx or Caddy from OAUTHBFF: it carries the API "
        "traffic and asks Django only whether a call may pass, and with which token."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        plain = Front()
        parser.add_argument("proxy", choices=sorted(PROXIES), help="which one")
        parser.add_argument("--output", type=Path, metavar="FILE", help="default: print it")
        parser.add_argument(
            "--check",
            action="store_true",
            help="let the proxy itself, if installed, test it",
        )
        parser.add_argument(
            "--django",
            action="append",
            metavar="HOST:PORT",
            help=f"where Django listens; may be given several times ({plain.django[0]})",
        )
        parser.add_argument(
            "--lane",
            action="append",
            metavar="HOST:PORT",
            help="where the lane listens, if there is one; may be given several times. It carries "
            'the routes with "websocket", and cuts what is open there when a grant ends',
        )
        parser.add_argument(
            "--lane-route",
            action="append",
            metavar="UPSTREAM",
            help="a further route that the lane carries: one with event streams, say",
        )
        parser.add_argument(
            "--listen",
            action="append",
            metavar="WORDS",
            help="where the proxy listens, in its own words (by BASE_URL)",
        )
        parser.add_argument("--certificate", default="", metavar="FILE", help="of BASE_URL's host")
        parser.add_argument("--certificate-key", default="", metavar="FILE", help="its private key")
        parser.add_argument(
            "--state", default=plain.state, metavar="FOLDER", help="in memory (%(default)s)"
        )
        parser.add_argument("--ca", default=plain.ca, metavar="FILE", help="roots (%(default)s)")
        parser.add_argument(
            "--include",
            default="",
            metavar="FILE",
            help="of your own words for the same server: static files, headers",
        )
        for name in ("--access-log", "--error-log"):
            parser.add_argument(name, default="", metavar="FILE", help="where the proxy's own are")
        parser.add_argument(
            "--no-keepalive",
            action="store_false",
            dest="keepalive",
            help="a connection of its own for each call, for APIs that break HTTP",
        )
        parser.add_argument(
            "--whole",
            action="store_true",
            help="not a part for the machine's own proxy, but all of it, to run in the foreground",
        )
        parser.add_argument("--workers", default=plain.workers, help="of a whole one (%(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        if conf().edge_secret is None:
            raise CommandError(
                'OAUTHBFF["EDGE_SECRET"] is not set. Generate one: manage.py oauthbff_key'
            )
        front = Front(
            django=tuple(options["django"] or Front.django),
            lane=tuple(options["lane"] or ()),
            lane_routes=frozenset(options["lane_route"] or ()),
            cookie=settings.SESSION_COOKIE_NAME,
            listen=tuple(options["listen"] or ()),
            user="root" if os.geteuid() == 0 else "",
            **{
                name: options[name]
                for name in (
                    *("certificate", "certificate_key", "state", "ca", "access_log", "error_log"),
                    *("include", "keepalive", "whole", "workers"),
                )
            },
        )
        self.check_lane(front)
        mount = reverse("oauthbff:api", kwargs={"rest": ""})
        proxy = PROXIES[options["proxy"]]
        text = proxy.write(front, conf(), mount)
        if options["check"]:
            with tempfile.TemporaryDirectory(prefix="oauthbff-edge-") as folder:
                places = {"state": folder, "access_log": f"{folder}/a", "error_log": f"{folder}/e"}
                whole = replace(front, whole=True, **places)  # type: ignore[arg-type]
                self.check_with(proxy, proxy.write(whole, conf(), mount), Path(folder))
        if options["output"]:
            write_secretly(options["output"], text)
        elif not options["check"]:
            self.stdout.write(text, ending="")

    def check_lane(self, front: Front) -> None:
        upstreams = conf().upstreams
        unknown = front.lane_routes - set(upstreams)
        if unknown:
            raise CommandError(f"--lane-route {min(unknown)}: there is no such upstream.")
        if front.lane_routes and not front.lane:
            raise CommandError("--lane-route needs --lane HOST:PORT: where the lane listens.")
        if front.lane and not any(map(front.is_lanes, upstreams.values())):
            raise CommandError('--lane: no route has "websocket"; name one with --lane-route.')

    def check_with(self, proxy: Any, whole: str, folder: Path) -> None:
        program = shutil.which(proxy.CHECK[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if program is None:
            raise CommandError(f"{proxy.CHECK[0]} is not installed here: nothing was checked.")
        file = folder / "configuration"
        write_secretly(file, whole)
        words = [program, *(word.format(file=file) for word in proxy.CHECK[1:])]
        done = subprocess.run(  # noqa: S603 - the proxy of this machine, and a file of ours
            words, capture_output=True, text=True, timeout=60
        )
        if done.returncode != 0:
            raise CommandError(f"{proxy.CHECK[0]} refuses it:\n{done.stdout}{done.stderr}")
        self.stdout.write(f"{proxy.CHECK[0]} takes it.")


def write_secretly(file: Path, text: str) -> None:
    """Write a file that only its owner can read: EDGE_SECRET is in it."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(descriptor, 0o600)
        stream.write(text)
