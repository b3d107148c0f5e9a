"""docs/proxy.md: made from `forwarding` and the rows, each of which names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from oauthbff.conf.routes import NEVER_PASS, NEVER_PREFIXES
from oauthbff.conf.values import Timeouts, Upstream
from oauthbff.forwarding import (
    MAX_PATH,
    MAX_QUERY,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    body,
)
from tests.support.generated_docs import check_page
from tests.support.proxy_rows import FAMILIES, SECTIONS

TESTS = Path(__file__).parents[1]
ROWS = [row for rows in SECTIONS.values() for row in rows]


def known_tests() -> dict[str, list[str]]:
    """File, without `test_` and `.py` → the tests in it, without `test_`."""
    found = {}
    for file in [*TESTS.glob("unit/test_*.py"), *TESTS.glob("contract/test_*.py")]:
        nodes = ast.walk(ast.parse(file.read_text()))
        names = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
        tests = [name.removeprefix("test_") for name in names if name.startswith("test_")]
        found[file.stem.removeprefix("test_")] = tests
    return found


KNOWN = known_tests()


def whole_name(short: str) -> str:
    """`file.test` of one test that is there. Raises `LookupError` for none or several."""
    file, _, name = short.partition(".")
    begin = name.removesuffix("…")
    matches = [one for one in KNOWN.get(file, ()) if one.startswith(begin)]
    if name == begin:
        matches = [one for one in matches if one == name]
    if len(matches) != 1:
        raise LookupError(f"{short}: {matches or 'no such test'}")
    return f"{file}.{matches[0]}"


@pytest.mark.parametrize(("row", "says", "tests"), ROWS, ids=[row[0] for row in ROWS])
def test_each_row_is_shown_by_tests_that_are_there(row: str, says: str, tests: str) -> None:
    assert says
    assert tests.split()
    for short in tests.split():
        whole_name(short)


def test_no_row_is_missing_and_none_is_there_twice() -> None:
    ids = [row for row, _, _ in ROWS]
    assert len(ids) == len(set(ids))
    for family, count in FAMILIES.items():
        assert [f"{family}-{n}" for n in range(1, count + 1)] == [
            row for row in ids if row.startswith(f"{family}-")
        ]
    assert {"A.2", "A.7", "A.13", "A.17", "A.18", "A.19"} <= set(ids)


@pytest.mark.parametrize("short", ["proxy_door.no_such_test", "proxy_headers.rh1_n…", "x.y"])
def test_a_test_that_is_not_there_or_not_one_is_found(short: str) -> None:
    with pytest.raises(LookupError):
        whole_name(short)


def words(names: object) -> str:
    return " ".join(f"`{name}`" for name in names)  # type: ignore[attr-defined]


#: What is told before the table of rows; the words in braces come from the code.
TABLES = """
## To the API

- **Passes as it came**: {request}, and the route's `headers`.
- **Ours, each once**: `Host` of the API, `Authorization` with the user's token where the route
  wants one, `Via`, `Forwarded` with the address that our server saw, `X-Request-ID`,
  `User-Agent: oauthbff`, and `Accept-Encoding: identity` where the browser named none.
- **Everything else stays here**, and so does what the browser's `Connection` names.

## To the browser

- **Passes as it came**: {response}, and the route's `response_headers`.
- **Rewritten**: `Location`, where it stays inside the upstream; a redirect elsewhere is a 502.
- **Ours**: `Cache-Control: private, no-store` (with `cache`: the API's own wish, `private`, and
  `Vary: Cookie`), `X-Content-Type-Options: nosniff`, `Content-Security-Policy: default-src 'none';
  sandbox`, `Cross-Origin-Resource-Policy: same-origin`, `X-Accel-Buffering: no`.
- **Everything else stays there**, and so does what the API's `Connection` names.

## What no setting lets through

In neither direction: {never}, and what begins with {prefixes}.

## Limits

| what | default | where it is set, and what happens |
|---|---|---|
| path, query | {path} and {query} bytes | 400 `bad_path` |
| request body | {max_body} bytes | `max_body`: 413 |
| answer | none | `max_answer`: 502, or cut off |
| a body that can be sent again | {again} bytes | |
| connect, first byte, idle, total | {waits} seconds | `timeouts`: 504, or cut off |
| calls, streams at once | {calls} per process | `max_calls`, `max_streams`: 502, `Retry-After` |

## Row by row
"""


def said() -> str:
    waits = Timeouts()
    times = (waits.connect, waits.first_byte, waits.idle, waits.total)
    head = TABLES.format(
        request=words(REQUEST_HEADERS),
        response=words(sorted(RESPONSE_HEADERS)),
        never=words(sorted(NEVER_PASS)),
        prefixes=words(NEVER_PREFIXES),
        path=MAX_PATH,
        query=MAX_QUERY,
        max_body=Upstream.max_body,
        again=body.REPLAYABLE_BYTES,
        waits=", ".join(f"{seconds:g}" for seconds in times),
        calls=f"{Upstream.max_calls}, {Upstream.max_streams}",
    )
    lines = [head.rstrip()]
    for section, rows in SECTIONS.items():
        lines += ["", f"### {section}", "", "| row | kept | shown by |", "|---|---|---|"]
        for row, says, tests in rows:
            shown = "<br>".join(f"`{whole_name(short)}`" for short in tests.split())
            lines.append(f"| {row} | {says} | {shown} |")
    return "\n".join(lines) + "\n"


def test_the_page_is_what_the_code_says() -> None:
    check_page("proxy.md", said())


def test_the_page_links_to_what_is_there() -> None:
    """The numbers on it are measured, and say how."""
    page = (TESTS.parent / "docs" / "proxy.md").read_text()
    for file in set(re.findall(r"tests/contract/test_\w+\.py", page)):
        assert (TESTS.parent / file).exists(), file
