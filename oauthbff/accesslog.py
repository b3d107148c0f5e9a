"""Keeps the authorization code out of access logs.

The provider sends code and state to our callback in the query string, and
servers log query strings. This filter sits on the access loggers of uvicorn,
gunicorn and runserver. A proxy in front has a log of its own: see docs/nginx.md.
RFC 9700 §4.2.4.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

LOGGERS = ("uvicorn.access", "gunicorn.access", "django.server")

_QUERY = re.compile(r"(/callback/?)\?[^\s\"]+")
_BARE_QUERY = re.compile(r"(^|&)(code|state)=")


class WithoutCode(logging.Filter):
    """Takes the query off each callback before it is written. Never drops a line."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, Mapping):
            record.args = {key: _clean(value) for key, value in record.args.items()}
        elif record.args:
            record.args = tuple(_clean(value) for value in record.args)
        record.msg = _clean(record.msg)
        return True


def install() -> None:
    """Put the filter on every access logger, once."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(one, WithoutCode) for one in logger.filters):
            logger.addFilter(WithoutCode())


def _clean(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if _BARE_QUERY.search(value) and "/" not in value.partition("=")[0]:
        return "…"
    return _QUERY.sub(r"\1?…", value)
