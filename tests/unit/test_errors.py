"""The tree drawn in errors.py is the tree of the classes."""

from __future__ import annotations

import re

import pytest

from oauthbff import errors
from oauthbff.errors import BFFError

LINE = re.compile(r"(?P<branch>[ │├└─]*)(?P<name>[A-Z]\w+) +(?P<status>[0-9]{3})?\b.*")


def drawn() -> dict[str, tuple[str, int | None]]:
    """name → (name of the parent, status), as the docstring draws it."""
    tree: dict[str, tuple[str, int | None]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = LINE.fullmatch(line.removeprefix("    "))
        if found is None or not (line.startswith("    ") and line.strip()):
            continue
        depth = len(found["branch"]) // 3
        del above[depth:]
        status = int(found["status"]) if found["status"] else None
        tree[found["name"]] = (above[-1] if above else "", status)
        above.append(found["name"])
    return tree


def classes(of: type[BFFError] = BFFError) -> dict[str, tuple[str, int]]:
    tree = {of.__name__: (of.__base__.__name__, of.status)} if of.__base__ else {}
    for child in of.__subclasses__():
        if child.__module__ == errors.__name__:
            tree |= classes(child)
    return tree


def test_every_class_is_drawn_and_every_drawing_is_a_class() -> None:
    assert set(drawn()) == set(classes())


@pytest.mark.parametrize("name", [name for name in drawn() if name != "BFFError"])
def test_each_class_hangs_where_it_is_drawn(name: str) -> None:
    assert classes()[name][0] == drawn()[name][0]


@pytest.mark.parametrize("name", [name for name in drawn() if name != "BFFError"])
def test_each_class_has_the_status_that_is_drawn(name: str) -> None:
    assert classes()[name][1] == drawn()[name][1]


@pytest.mark.parametrize(
    ("error", "status", "code", "extra", "headers"),
    [
        pytest.param(errors.LoginRequired(), 401, "login_required", {}, {}, id="login_required"),
        pytest.param(
            errors.GrantEnded("idle"), 401, "grant_ended", {"reason": "idle"}, {}, id="grant_ended"
        ),
        pytest.param(errors.CSRFFailed("x"), 403, "csrf_failed", {}, {}, id="csrf_failed"),
        pytest.param(
            errors.NoSuchUpstream("x"), 404, "no_such_upstream", {}, {}, id="no_such_upstream"
        ),
        pytest.param(
            errors.MethodRefused("PUT", ("GET", "HEAD")),
            405,
            "method_not_allowed",
            {},
            {"Allow": "GET, HEAD"},
            id="method_not_allowed",
        ),
        pytest.param(errors.PathRefused("x"), 400, "bad_path", {}, {}, id="bad_path"),
        pytest.param(
            errors.LengthRequired("x"), 411, "length_required", {}, {}, id="length_required"
        ),
        pytest.param(errors.BodyTooLarge("x"), 413, "body_too_large", {}, {}, id="body_too_large"),
        pytest.param(
            errors.UpstreamUnreachable("x"),
            502,
            "upstream_unreachable",
            {},
            {},
            id="upstream_unreachable",
        ),
        pytest.param(
            errors.UpstreamUnreachable("x", retry_after=2),
            502,
            "upstream_unreachable",
            {},
            {"Retry-After": "2"},
            id="upstream_unreachable, nothing sent",
        ),
        pytest.param(
            errors.UpstreamTimeout("x"), 504, "upstream_timeout", {}, {}, id="upstream_timeout"
        ),
        pytest.param(
            errors.ProviderUnreachable("x", retry_after=7),
            503,
            "provider_unavailable",
            {},
            {"Retry-After": "7"},
            id="provider_unavailable",
        ),
    ],
)
def test_the_browser_gets_what_the_contract_says(
    error: BFFError, status: int, code: str, extra: dict[str, str], headers: dict[str, str]
) -> None:
    """DESIGN.md section 3, the table of errors."""
    assert (error.status, error.code) == (status, code)
    assert (error.extra, error.headers) == (extra, headers)


def test_a_title_says_nothing_of_the_case() -> None:
    for error in (
        errors.PathRefused("SECRET"),
        errors.ProviderRefused("SECRET"),
        errors.TokenRejected("reason", "SECRET"),
        errors.LoginFailed("code", "SECRET"),
        errors.UpstreamUnreachable("SECRET"),
    ):
        assert "SECRET" not in f"{error.title} {error.code} {error.extra} {error.headers}"
        assert "SECRET" in str(error)


def test_a_long_method_is_not_repeated_whole() -> None:
    assert len(str(errors.MethodRefused("X" * 5000, ("GET",)))) < 100
