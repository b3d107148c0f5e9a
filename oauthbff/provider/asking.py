"""One question to the provider, one answer: the I/O, and nothing of what it means."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from oauthbff import claims, correlation, telemetry
from oauthbff.conf import conf
from oauthbff.errors import ProviderNonsense, ProviderUnreachable

log = logging.getLogger("oauthbff.provider")

MAX_ANSWER_BYTES = 1024 * 1024
#: Questions of one process at the same time.
MOST_QUESTIONS = 64
#: No `Retry-After` of the provider counts for longer.
MOST_PATIENT_SECONDS = 6 * 3600


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> Any:
        try:
            return claims.read_json(self.body)
        except (ValueError, RecursionError):
            raise ProviderNonsense("the answer is not JSON") from None


def ask(
    method: str,
    url: str,
    *,
    headers: dict[str, str],
    body: str | None = None,
    patience: float | None = None,
) -> Answer:
    """One request, one answer, within `OIDC_TIMEOUT` (or `patience`) seconds all in all.

    The socket's timeout bounds each silence, not a drip of bytes; so the request
    runs in a thread of its own, and one that is not done in time is given up.
    """
    seconds = min(patience or conf().provider_timeout, conf().provider_timeout)
    started = time.monotonic()
    headers = _traced(headers)
    asked = {"http.request.method": method, "url.path": urlsplit(url).path}
    with telemetry.span("oauthbff.provider", **asked):
        running = _threads().submit(_exchange, method, url, headers, body, seconds)
        try:
            answer = running.result(timeout=seconds)
        except FutureTimeout:
            raise ProviderUnreachable("no answer in time", sent=not running.cancel()) from None
    took = (time.monotonic() - started) * 1000
    log.debug("%s %s answered %s in %.0f ms", method, urlsplit(url).path, answer.status, took)
    if answer.status >= 500 or answer.status == 429:
        wait = retry_after(answer.headers.get("retry-after"), time.time())
        raise ProviderUnreachable(f"status {answer.status}", retry_after=wait)
    return answer


def _traced(headers: dict[str, str]) -> dict[str, str]:
    """What lets the provider's log be found from ours."""
    request_id = correlation.current()
    return {**headers, "X-Request-ID": request_id} if request_id else headers


def _exchange(
    method: str, url: str, headers: dict[str, str], body: str | None, seconds: float
) -> Answer:
    """The I/O of one question. Foreign errors become ours here."""
    try:
        response = pool().urlopen(
            method,
            url,
            body=body,
            headers={**headers, "User-Agent": "oauthbff", "Accept-Encoding": "identity"},
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=urllib3.Timeout(connect=min(seconds, 5.0), read=seconds),
        )
    except (NewConnectionError, ConnectTimeoutError) as exc:
        raise ProviderUnreachable(f"no connection: {type(exc).__name__}") from None
    except (HTTPError, OSError) as exc:
        raise ProviderUnreachable(f"no answer: {type(exc).__name__}", sent=True) from None
    try:
        content = _read(response, time.monotonic() + seconds)
    except (HTTPError, OSError) as exc:
        raise ProviderUnreachable(f"half an answer: {type(exc).__name__}", sent=True) from None
    finally:
        response.close()
    found = {key.lower(): value for key, value in response.headers.items()}
    return Answer(response.status, found, content)


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    content = b""
    while chunk := response.read1(16 * 1024):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise ProviderNonsense("the answer is too long")
        if time.monotonic() > deadline:
            raise ProviderUnreachable("the answer came too slowly", sent=True)
    return content


def retry_after(value: str | None, now: float) -> int:
    """Return the seconds to wait, given as a number or a date; 5 for neither. RFC 9110 §10.2.3."""
    if value is None:
        return 5
    if value.isascii() and value.isdigit():
        seconds = float(value[:10])
    else:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return 5
    return round(min(max(seconds, 1), MOST_PATIENT_SECONDS))


@cache
def pool() -> urllib3.PoolManager:
    """Connections of this process. No redirects, no retries, no proxies from the environment."""
    return urllib3.PoolManager(num_pools=4, maxsize=8)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_QUESTIONS, thread_name_prefix="oauthbff-provider")
