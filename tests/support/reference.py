"""The reference pages of docs/, read off the code: settings, doors, errors, commands, signals."""

from __future__ import annotations

import ast
import re
import textwrap
from argparse import Action
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from django.core.management import load_command_class
from django.dispatch import Signal

from oauthbff import errors, signals
from oauthbff.conf import Breaking, Conf, Timeouts, Upstream
from oauthbff.login import doors as doors_of_login
from oauthbff.login import pages
from oauthbff.models import EndReason
from oauthbff.openapi import document

ROOT = Path(__file__).parents[2]
SOURCE = (ROOT / "oauthbff/conf/values.py").read_text()
#: The provider's settings are mozilla-django-oidc's; which field of `Conf` each becomes.
OIDC = {
    "OIDC_OP_ISSUER": "issuer",
    "OIDC_RP_CLIENT_ID": "client_id",
    "OIDC_RP_CLIENT_SECRET": "client_secret",
    "OIDC_RP_SCOPES": "scopes",
    "OIDC_RP_SIGN_ALGO": "sign_algorithm",
    "OIDC_TIMEOUT": "provider_timeout",
}
BASIC = "OIDC_TOKEN_USE_BASIC_AUTH"
COMMANDS = sorted(
    file.stem
    for file in (ROOT / "oauthbff/management/commands").glob("*.py")
    if file.stem != "__init__"
)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    first, *others = ("| " + " | ".join(map(cell, row)) + " |" for row in (head, *rows))
    return "\n".join([first, "|" + "---|" * len(head), *others, ""])


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# --- settings ---


def settings() -> str:
    told = comments("Conf")
    defaults = oidc_defaults()
    ours = [field for field in fields(Conf) if field.name not in OIDC.values()]
    parts = [
        "## The provider\n\nSettings of their own, under mozilla-django-oidc's names.\n\n",
        table(
            ("setting", "default", ""),
            [
                *((f"`{name}`", defaults.get(name, ""), told[of]) for name, of in OIDC.items()),
                (f"`{BASIC}`", "", "`CLIENT_AUTH`, which goes before it, in their words."),
            ],
        ),
        "\n## The site: `OAUTHBFF = {…}`\n\n",
        table(
            ("key", "default", ""),
            [(f"`{one.name.upper()}`", default(one), told[one.name]) for one in ours],
        ),
    ]
    for title, kind in (
        ('A route: `OAUTHBFF["UPSTREAMS"]["…"]`', Upstream),
        ("A route's `timeouts`", Timeouts),
        ("A route's `breaker`", Breaking),
    ):
        meant = comments(kind.__name__)
        rows = [
            (f"`{one.name}`", default(one), meant[one.name])
            for one in fields(kind)
            if one.name != "name"
        ]
        parts.append(f"\n## {title}\n\n{table(('key', 'default', ''), rows)}")
    return "".join(parts)


def comments(name: str) -> dict[str, str]:
    """The `#:` comment above each field of a class in conf/values.py."""
    [kind] = [
        node
        for node in ast.parse(SOURCE).body
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    lines = SOURCE.splitlines()
    found = {}
    for node in kind.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above = node.lineno - 2
            while lines[above].lstrip().startswith("#:"):
                above -= 1
            said = lines[above + 1 : node.lineno - 1]
            found[node.target.id] = " ".join(line.strip().removeprefix("#: ") for line in said)
    return found


def default(field: Any) -> str:
    value = field.default
    if value is MISSING or value is None or isinstance(value, Timeouts | Breaking):
        return ""
    if isinstance(value, tuple):
        return " ".join(f"`{one}`" for one in value)
    if field.name == "max_body":
        return f"{value // 2**20} MiB"
    return f"`{value}`"


def oidc_defaults() -> dict[str, str]:
    """`getattr(settings, "OIDC_…", default)` of conf/provider.py."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / "oauthbff/conf/provider.py").read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "getattr"
            and len(node.args) == 3
        ):
            name, value = (ast.literal_eval(one) for one in node.args[1:])
            found[name] = "" if value is None else f"`{value}`"
    return found


def oidc_names() -> set[str]:
    """Every `OIDC_…` that conf/ reads."""
    text = "".join(file.read_text() for file in (ROOT / "oauthbff/conf").glob("*.py"))
    return set(re.findall(r'(?:settings, |required\()"(OIDC_\w+)"', text))


# --- doors and errors ---


def doors() -> str:
    rows = []
    for path, methods in document()["paths"].items():
        for method, told in methods.items():
            if method == "parameters" or (method not in ("get",) and "/api/" in path):
                continue
            named = path.replace("/bff/", "").replace("api/photos/", "api/<upstream>/")
            asks = [one["name"] for one in told.get("parameters", ())]
            asked = "?" + "&".join(f"{one}=" for one in asks) if asks else ""
            said = told["summary"].replace(" to photos ", " to the upstream ")
            if told.get("description"):
                said += f" {told['description']}"
            verb = "as the route allows" if "/api/" in path else method.upper()
            statuses = " ".join("any" if one == "default" else one for one in told["responses"])
            needs = "header" if "security" in told else ""
            rows.append((f"`{named}`", verb, f"`{asked}`" if asked else "", needs, statuses, said))
    return table(("door", "method", "query", "needs", "answers", ""), rows)


def all_errors(kind: type[errors.BFFError] = errors.BFFError) -> Iterator[type[errors.BFFError]]:
    for one in kind.__subclasses__():
        if one.__module__ == errors.__name__:
            yield one
            yield from all_errors(one)


def refusals() -> str:
    """Every `code` that a fetched door of the document answers."""
    found: dict[tuple[str, str], str] = {}
    for methods in document()["paths"].values():
        for told in methods.values():
            if not isinstance(told, dict):
                continue
            for status, response in told["responses"].items():
                media = response.get("content", {}).get("application/problem+json", {})
                for code, example in media.get("examples", {}).items():
                    found[status, code] = example["value"]["title"]
    # The first of a family names its code.
    by_code = {one.code: one.__name__ for one in reversed([*all_errors()]) if one.code != "error"}
    rows = [
        (status, f"`{code}`", title, f"`{by_code[code]}`" if code in by_code else "")
        for (status, code), title in sorted(found.items())
    ]
    reasons = [(f"`{one.value}`", str(one.label)) for one in EndReason]
    failed = [(f"`{code}`", *pages.explanation(code)) for code in sorted(sign_in_codes())]
    tree = textwrap.dedent(str(errors.__doc__).split("\n\n")[1])
    return (
        "## Refusals of the doors that are fetched\n\n"
        + table(("status", "code", "title", "in Python"), rows)
        + "\n## Reasons of `grant_ended`\n\n"
        + table(("`reason`", "the sign-in was"), reasons)
        + "\n## A sign-in that came to nothing\n\n"
        + table(("`bff_error`", "the page says", ""), failed)
        + f"\n## In Python: `oauthbff.errors`\n\n```text\n{tree}\n```\n"
    )


def sign_in_codes() -> set[str]:
    """Every `bff_error` that a failed sign-in can end with: of ours, and of the provider."""
    text = "".join(file.read_text() for file in (ROOT / "oauthbff/login").glob("*.py"))
    raised = set(re.findall(r'LoginFailed\(\s*"(\w+)"', text))
    kinds = (errors.ProviderError, *errors.ProviderError.__subclasses__(), errors.TokenRejected)
    return raised | doors_of_login.KNOWN_ERRORS | {"provider_error"} | {one.code for one in kinds}


# --- commands and signals ---


def commands() -> str:
    parts = []
    for name in COMMANDS:
        command = load_command_class("oauthbff", name)
        parser = command.create_parser("manage.py", name)
        parts.append(f"## {name}\n\n{command.help}\n\n")
        own = [one for one in parser._actions if is_own(one)]
        rows = [(f"`{option(one)}`", str(one.help or "")) for one in own]
        parts.append(table(("option", ""), rows) + "\n")
    return "".join(parts).rstrip("\n") + "\n"


def is_own(action: Action) -> bool:
    django = "help version verbosity settings pythonpath traceback no_color force_color skip_checks"
    return action.dest not in django.split()


def option(action: Action) -> str:
    name = action.option_strings[0] if action.option_strings else ""
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    return f"{name} {value}".strip()


def signal_table() -> str:
    """The table in the docstring of signals.py, whose names must be the module's signals."""
    lines = re.findall(r"^    (\w+) *(.*)$", str(signals.__doc__), re.M)
    real = {name for name, one in vars(signals).items() if isinstance(one, Signal)}
    assert {name for name, _ in lines} == real
    return table(
        ("signal", "carries, beside `grant_id`"),
        [
            (f"`{name}`", " ".join(f"`{one}`" for one in re.findall(r"\w+", facts)))
            for name, facts in lines
        ],
    )
