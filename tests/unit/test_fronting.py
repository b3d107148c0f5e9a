"""What a proxy in front is told: the patterns of plain targets, the lists, and the page's table."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oauthbff.conf import Upstream, never_passes
from oauthbff.errors import PathRefused
from oauthbff.forwarding import PLAIN_REST, TOLD_REST, upstream_target
from oauthbff.fronting.words import hidden_headers, request_headers
from tests.support.deviations import table
from tests.support.generated_docs import check_page

ROUTE = Upstream(name="photos", url="https://photos.example.com/v1/")
PIECES = st.sampled_from(
    ["a", "Z", "7", ".", "..", "/", "//", "%2e", "%2F", "%", ";", "?", "#", "\\", " ", "é", "\t"]
    + list("-_~!$&'()*+,=:@|\"<\x7f\x00\r")
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_whatever_is_plain_would_have_passed_the_full_check(rest: str) -> None:
    """So Django need not be asked about it again while it remembers the caller."""
    if re.fullmatch(PLAIN_REST, rest):
        path, mark, query = rest.partition("?")
        assert upstream_target(ROUTE, path, mark + query) == f"/v1/{rest}"


@pytest.mark.parametrize(
    ("rest", "plain"),
    [
        *(("", True), ("1", True), ("a/b/", True), ("a.b/..c/x..", True), ("a?x=/../%2F", True)),
        *(("..", False), ("a/../b", False), ("./a", False), ("a/.", False), ("..?x", False)),
        *(("a//b", False), ("/a", False), ("a%20b", False), ("a;b", False), ("a#b", False)),
        *(("a?b#c", False), ("a?é", False), ("a b", False), ("a\\b", False), ("a?b c", False)),
    ],
)
def test_what_is_plain(rest: str, plain: bool) -> None:
    assert bool(re.fullmatch(PLAIN_REST, rest)) is plain


@pytest.mark.parametrize(
    "rest", ["..", "a/../b", "%2e%2e/x", "a%2fb", "a%5cb", "a%25b", "a%0ab", "//x"]
)
def test_no_told_address_climbs_or_hides_a_separator(rest: str) -> None:
    assert not re.fullmatch(TOLD_REST, rest)
    assert re.fullmatch(TOLD_REST, "caf%C3%A9/1?q=%2F#f")


def test_no_list_lets_a_credential_through_or_forgets_one() -> None:
    route = Upstream(name="x", url="https://x.example/", headers=("X-Tenant", "*"))
    sent = {name.lower() for name in request_headers(route)}
    assert "x-tenant" in sent
    assert not [name for name in sent if never_passes(name) or name in ("*", "cookie", "x-bff")]
    other = Upstream(name="y", url="https://y.example/", response_headers=("X-Extra",))
    hidden = {name.lower() for name in hidden_headers(route, {"x": route, "y": other})}
    assert {"set-cookie", "www-authenticate", "access-control-allow-origin", "x-extra"} <= hidden
    assert "x-extra" not in {name.lower() for name in hidden_headers(other, {"y": other})}
    assert not hidden & {"content-type", "content-length", "etag", "connection"}


def test_a_refused_path_is_refused_by_the_full_check_too() -> None:
    """The negative twin: the pattern is not what protects."""
    with pytest.raises(PathRefused):
        upstream_target(ROUTE, "a/../b", "")


def test_the_pages_table_is_the_suites() -> None:
    check_page("edge.md", table())
