"""The one cookie, by its exact bytes. The variants are those of shared/standards.md A.2.

Either there is exactly one clean cookie, or none, or the request has no session. V is a victim's
value, E an attacker's.
"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oauthbff.cookies import AmbiguousCookie, exact_cookie

N = "__Host-Http-bff-auth"


def read(header: str | bytes, name: str = N) -> str | None:
    return exact_cookie(header if isinstance(header, bytes) else header.encode(), name)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        pytest.param(f"{N}=V", "V", id="alone"),
        pytest.param(f"a=1; {N}=V", "V", id="last"),
        pytest.param(f"{N}=V; a=1", "V", id="first"),
        pytest.param(f"a=1;{N}=V;b=2", "V", id="without spaces"),
        pytest.param(f"a=1; \t {N}=V  ;", "V", id="with much white space"),
        pytest.param(f"a=1;; ;{N}=V;", "V", id="with empty pairs"),
        pytest.param(f"{N}=a=b==", "a=b==", id="a value with equals signs"),
        pytest.param(f"{N}=", "", id="an empty value"),
        pytest.param(f"{N}=V; {N}x=E", "V", id="beside a longer name"),
        pytest.param(f"x{N}=E; {N}=V", "V", id="beside a name that ends alike"),
        pytest.param(f"a={N}=E; {N}=V", "V", id="beside a value that looks alike"),
        pytest.param(f'a="quoted"; {N}=V', "V", id="beside a quoted cookie"),
        pytest.param(f"é=ü; {N}=V", "V", id="beside a cookie beyond ASCII"),
        pytest.param(b"\xff=\xfe; " + N.encode() + b"=V", "V", id="beside bytes that are no UTF-8"),
        pytest.param("; ".join([*(f"p{i}=x" for i in range(1500)), f"{N}=V"]), "V", id="A.2 8 kB"),
    ],
)
def test_one_clean_cookie_is_read(header: str | bytes, value: str) -> None:
    assert read(header) == value


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="no cookies"),
        pytest.param("a=1; b=2", id="other cookies"),
        pytest.param(f"{N}x=E", id="a longer name"),
        pytest.param(f"x{N}=E", id="a name that ends alike"),
        pytest.param(f"a={N}", id="our name as a value"),
        pytest.param(f"a={N}=E", id="our name within a value"),
        pytest.param(N.replace("_", "%5F") + "=E", id="a percent-encoded name"),
        pytest.param("; ".join(f"p{i}=x" for i in range(1500)), id="A.2 evicted by padding"),
    ],
)
def test_no_such_cookie_is_none(header: str) -> None:
    assert read(header) is None


SPACES = {
    "U+2000": "\u2000",
    "U+00A0": "\u00a0",
    "U+0085": "\u0085",
    "U+3000": "\u3000",
    "U+1680": "\u1680",
    "U+2028": "\u2028",
    "U+205F": "\u205f",
    "U+FEFF": "\ufeff",
    "U+200B": "\u200b",
    "FS": "\x1c",
    "US": "\x1f",
    "VT": "\x0b",
    "FF": "\x0c",
    "CR": "\r",
    "LF": "\n",
    "NUL": "\x00",
}

AMBIGUOUS = [
    pytest.param(f"{N}=V; {N}=E", id="A.2 twice, ours first"),
    pytest.param(f"{N}=E; {N}=V", id="A.2 twice, theirs first"),
    pytest.param(f"{N}=V; {N}=V", id="twice the same"),
    pytest.param(f"{N}=V;{N}=E", id="twice without space"),
    pytest.param(f"{N}={'V'}, {N}=E", id="A.2 two lines, joined by a comma"),
    pytest.param(f"a=b, {N}=E", id="A.2 two lines, the second ours"),
    pytest.param(f"{N.lower()}=E", id="A.2 lower case alone"),
    pytest.param(f"{N}=V; {N.lower()}=E", id="A.2 lower case beside"),
    pytest.param(f"{N}=V; {N.upper()}=E", id="upper case beside"),
    pytest.param(f"={N}=E", id="A.2 nameless"),
    pytest.param(f"{N}=V; ={N}=E", id="A.2 nameless beside"),
    pytest.param(f"{N}", id="without an equals sign"),
    pytest.param(f"{N}=V; {N}", id="without an equals sign beside"),
    pytest.param(f"$Version=1; {N}=E", id="A.2 $Version"),
    pytest.param(f"{N}=V; $version=1", id="$version behind"),
    pytest.param(f'a="x; {N}=E"', id="A.2 inside quotes"),
    pytest.param(f'{N}="V"', id="A.2 quoted value"),
    pytest.param(f'{N}="V\\137"', id="A.2 octal escape"),
    pytest.param(f"{N}=V\\137", id="octal escape without quotes"),
    pytest.param(f"{N} =V", id="a space before the equals sign"),
    pytest.param(f"{N}= V", id="a space after the equals sign"),
    pytest.param(f"{N}=a b", id="a space in the value"),
    pytest.param(f"{N}=a,b", id="a comma in the value"),
    pytest.param(f"{N}=é", id="a value beyond ASCII"),
    pytest.param(f"{N}=V\r\nSet-Cookie: a=b", id="a line break in the value"),
    pytest.param(f"{N}=V\x00", id="NUL in the value"),
    pytest.param(f"'{N}=E", id="a quote before the name"),
    pytest.param(f'"{N}"=E', id="a quoted name"),
    *(pytest.param(f"{N}=V; {c}{N}=E", id=f"A.2 {name} before") for name, c in SPACES.items()),
    *(pytest.param(f"{N}=V; {N}{c}=E", id=f"A.2 {name} behind") for name, c in SPACES.items()),
    *(pytest.param(f"{c}{N}=E", id=f"A.2 {name} before, alone") for name, c in SPACES.items()),
    pytest.param(f"{N}=V; \x85{N}=E".encode("latin-1"), id="A.2 the byte 85"),
    pytest.param(f"{N}=V; \xa0{N}=E".encode("latin-1"), id="A.2 the byte A0"),
]


@pytest.mark.parametrize("header", AMBIGUOUS)
def test_anything_ambiguous_is_no_session(header: str | bytes) -> None:
    with pytest.raises(AmbiguousCookie):
        read(header)


def test_the_report_does_not_hold_the_value() -> None:
    for header in (f"{N}=SECRET; {N}=SECRET", f'{N}="SECRET"', f"{N}=SECRET; $Version=1"):
        with pytest.raises(AmbiguousCookie) as found:
            read(header)
        assert "SECRET" not in str(found.value)


NAMES = st.sampled_from(["a", N, N.lower(), "sessionid", "=", f"\u2000{N}", f"{N} ", f'"{N}'])
PAIRS = st.lists(st.tuples(NAMES, st.text(alphabet='VE"; ,=\\', max_size=4)), max_size=5)


@given(PAIRS)
def test_what_is_read_was_there_once_to_the_letter(pairs: list[tuple[str, str]]) -> None:
    header = "; ".join(f"{name}={value}" for name, value in pairs)
    try:
        value = read(header)
    except AmbiguousCookie:
        return
    written = [chunk.strip(" \t") for chunk in header.split(";")]
    assert written.count(f"{N}={value}") == (value is not None)
    assert sum(chunk.startswith(f"{N}=") for chunk in written) == (value is not None)


@given(st.binary(max_size=60))
def test_no_bytes_make_the_guard_fall_over(junk: bytes) -> None:
    for header in (junk, N.encode() + junk, junk + N.encode() + b"=V"):
        with contextlib.suppress(AmbiguousCookie):
            read(header)
