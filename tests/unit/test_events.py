"""The catalogue of events: each declared once, said with its own fields, on one line."""

from __future__ import annotations

import ast
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import structlog

from oauthbff import correlation, events, telemetry
from oauthbff.events import CATALOGUE
from tests.support.generated_docs import check_page

ROOT = Path(__file__).parents[2]
ROOMS = [file for file in (ROOT / "oauthbff").rglob("*.py") if file.name != "events.py"]
FORBIDDEN = {"token", "code_verifier", "secret", "cookie", "body", "password", "session_key"}


def calls() -> list[tuple[str, str, set[str], bool]]:
    """(file, event, keywords, whether a `why` is given) of each call in the house."""
    found = []
    for file in ROOMS:
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "events"
                and node.func.attr in CATALOGUE
            ):
                named = {word.arg for word in node.keywords if word.arg} - {"trace"}
                if any(word.arg is None for word in node.keywords):  # **where(request)
                    named |= {"method", "path", "ip"}
                found.append((file.name, node.func.attr, named, bool(node.args)))
    return found


def test_every_event_is_said_somewhere_and_with_its_own_fields() -> None:
    said = calls()
    assert {name for _, name, _, _ in said} == set(CATALOGUE)
    for file, name, named, has_why in said:
        declared = set(CATALOGUE[name].fields)
        assert named | ({"why"} if has_why else set()) == declared, (file, name)


def test_no_event_is_logged_past_the_catalogue() -> None:
    for file in ROOMS:
        found = re.findall(
            r"\b(?:log|logger|security)\.(?:info|warning|error|exception)\(", file.read_text()
        )
        assert not found, file


def test_the_names_are_their_variables_and_no_field_is_a_secret() -> None:
    taken = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "event", "request_id"}
    for name, event in CATALOGUE.items():
        assert getattr(events, name) is event and event.name == name
        assert not set(event.fields) & taken, name
        assert not set(event.fields) & FORBIDDEN, name
        assert event.sentence.endswith(".")


def test_a_line_has_the_fields_and_the_record_has_them_apart(caplog: Any) -> None:
    caplog.set_level(logging.INFO, "oauthbff")
    correlation.begin("abc")
    events.login_failed('bad "x"\n\x1b[31m2026', code="bad_response", ip=None)
    [record] = caplog.records
    assert record.name == "oauthbff.login"
    assert record.getMessage() == (
        'login_failed why="bad \\"x\\"\\n\\u001b[31m2026" code=bad_response request_id=abc'
    )
    assert (record.event, record.code, record.request_id) == ("login_failed", "bad_response", "abc")


def test_a_traceback_is_text_so_that_no_mail_shows_variables(caplog: Any) -> None:
    try:
        secret = "SECRET-token"
        raise ValueError(len(secret))
    except ValueError:
        events.refresh_broke(trace=True, grant="1")
    [record] = caplog.records
    assert record.exc_info is None and "SECRET" not in record.getMessage()
    assert "ValueError: 12" in record.getMessage()


@pytest.mark.parametrize("value", ["\r\nINFO forged line", "\x00", "\u2028x", "\x85x", "x" * 5000])
def test_whatever_a_stranger_writes_stays_one_short_line(caplog: Any, value: str) -> None:
    caplog.set_level(logging.INFO, "oauthbff")
    events.call_refused(value, code="bad_path", method="GET", path=value, ip="127.0.0.1")
    text = caplog.records[0].getMessage()
    assert len(text.splitlines()) == 1 and text.isascii() and len(text) < 2500


def test_structlog_sees_the_fields(capsys: Any) -> None:
    """As docs/logging.md says to set it up."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logger = logging.getLogger("oauthbff.grants")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        correlation.begin("abc")
        events.grant_ended(grant="1", reason="logout", by=7, note=None)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    line = json.loads(capsys.readouterr().err)
    assert line == {
        "event": "grant_ended",
        "level": "info",
        "grant": "1",
        "reason": "logout",
        "by": 7,
        "request_id": "abc",
    }


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        ("abc-1", "abc-1"),
        (f"00-{TRACE}-b7ad6b7169203331-01", TRACE),
        ("1-67891233-abcdef012345678912345678", "1-67891233-abcdef012345678912345678"),
        *((bad, None) for bad in ("", "a b", "a\n", "é", "x" * 65, "<script>", None)),
    ],
)
def test_an_id_is_taken_if_it_is_one(offered: str | None, taken: str | None) -> None:
    found = correlation.begin(offered)
    assert correlation.current() == found
    if taken is None:
        assert re.fullmatch("[0-9a-f]{32}", found)
    else:
        assert found == taken


# --- the pages that are made from the code; WRITE_DOCS=1 writes them ---


def test_the_catalogue_is_in_the_docs() -> None:
    rows = ["| event | logger | level | fields | meaning |", "|---|---|---|---|---|"]
    for name, event in CATALOGUE.items():
        level = logging.getLevelName(event.level).lower()
        fields = " ".join(f"`{field}`" for field in event.fields)
        rows.append(
            f"| `{name}` | `oauthbff.{event.room}` | {level} | {fields} | {event.sentence} |"
        )
    check_page("logging.md", "\n".join(rows) + "\n")


def test_every_metric_and_span_is_in_the_docs() -> None:
    rows = ["| metric | kind | unit | attributes | |", "|---|---|---|---|---|"]
    for name, (kind, unit, says, attributes) in telemetry.METRICS.items():
        rows.append(f"| `{name}` | {kind} | {unit} | {attributes} | {says} |")
    rows += ["", "| span | |", "|---|---|"]
    rows += [f"| `{name}` | {says} |" for name, says in telemetry.SPANS.items()]
    check_page("metrics.md", "\n".join(rows) + "\n")


def test_what_is_counted_is_an_event_with_those_fields() -> None:
    for event, (metric, fixed, labels) in telemetry.COUNTED.items():
        assert set(labels) <= set(CATALOGUE[event].fields)
        told = {label.strip() for label in telemetry.METRICS[metric][3].split(",")}
        assert {*fixed, *labels} <= told
