"""One cookie, by its exact bytes. Pure.

Django strips Unicode white space around cookie names and lets the last of two
equal names win; a browser sees `\\u2000__Host-x` as a name of its own, which a
sibling subdomain may set. So the prefix protects the name in the browser and
not in Django, unless the header is read the way the browser wrote it.
RFC 6265 §4.2, §5.4.
"""

from __future__ import annotations

import re

#: RFC 6265 §4.1.1 cookie-octet; a quoted or escaped value is nobody's session key.
VALUE = re.compile(rb"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
JUNK = " \t\r\n\x00\"'=\ufeff\u200b\u200c\u200d\u2060"


class AmbiguousCookie(Exception):
    """Two cookies claim one name, or one claims it in disguise: somebody tampered."""


def exact_cookie(header: bytes, name: str) -> str | None:
    """Return the value of the one cookie called `name`, or None when there is none.

    Raises `AmbiguousCookie` when more than one cookie could be taken for it by
    some parser, or when the one there is has a value no server of ours wrote:
    the request then has no session.
    """
    wanted = name.encode()
    if wanted.lower() not in header.lower():
        return None
    found: list[bytes] = []
    for chunk in header.split(b";"):
        pair = chunk.strip(b" \t")
        own, equals, value = pair.partition(b"=")
        if own == wanted and equals:
            found.append(value)
        elif any(_claims(part, name) for part in pair.split(b",")):
            raise AmbiguousCookie(f"a cookie passes itself off as {name}")
    if b"$version" in header.lower() and found:
        raise AmbiguousCookie("a $Version cookie changes how others are parsed")
    if not found:
        return None
    if len(found) > 1:
        raise AmbiguousCookie(f"{len(found)} cookies are called {name}")
    if not VALUE.fullmatch(found[0]):
        raise AmbiguousCookie(f"the value of {name} is not one of ours")
    return found[0].decode("ascii")


def _claims(pair: bytes, name: str) -> bool:
    """Whether a lenient parser, in either decoding, would read `pair` as `name=…`."""
    for encoding in ("utf-8", "latin-1"):
        text = pair.decode(encoding, "replace").lstrip(JUNK)
        own = "".join(text.partition("=")[0].split()).strip(JUNK)
        if own.casefold() == name.casefold():
            return True
    return False
