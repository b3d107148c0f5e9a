"""Asking the provider. The only room that talks to it.

Every question is one HTTP request, authenticated as our client where the
specification says so, with a bound on time and size, without redirects,
proxies or cookies. The answers are judged in `claims`; what comes out is a
value or one of the four `ProviderError`s, and no text of the provider's.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlencode, urlsplit

import urllib3
from django.core.signals import setting_changed
from django.dispatch import receiver
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from . import claims, client_auth, correlation, telemetry
from .claims import TokenResponse
from .conf import conf, is_loopback
from .errors import (
    GrantRefused,
    ProviderError,
    ProviderNonsense,
    ProviderRefused,
    ProviderUnreachable,
    TokenRejected,
)
from .remembered import Remembered

log = logging.getLogger("oauthbff.provider")

MAX_ANSWER_BYTES = 1024 * 1024
#: Questions of one process at the same time.
MOST_QUESTIONS = 64
#: No `Retry-After` of the provider counts for longer.
MOST_PATIENT_SECONDS = 6 * 3600
Verdict = TypeVar("Verdict")
WELL_KNOWN = "/.well-known/openid-configuration"
WELL_KNOWN_OAUTH = "/.well-known/oauth-authorization-server"


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What the provider says of itself. OIDC Discovery 1.0 §3; RFC 8414 §2."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    revocation_endpoint: str | None = None
    end_session_endpoint: str | None = None
    auth_methods: tuple[str, ...] = ("client_secret_basic",)
    par_endpoint: str | None = None
    par_required: bool = False
    #: Whether each authorization response carries `iss`. RFC 9207 §3.
    names_itself: bool = False


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        try:
            return claims.read_json(self.body)
        except (ValueError, RecursionError):
            raise ProviderNonsense("the answer is not JSON") from None


def look(url: str) -> Answer:
    """Fetch a public document past all caches, for diagnosis. Raises `ProviderError`."""
    return _ask("GET", url, headers={"Accept": "application/json"})


def keys_now(jwks_uri: str) -> list[dict[str, Any]]:
    """Return the provider's keys as published just now. Raises `ProviderError`."""
    return list(_fetch_keys(jwks_uri)["keys"])


def metadata() -> Metadata:
    """Return the provider's metadata, discovered from the issuer. Raises `ProviderError`."""
    return _read_metadata(_metadata.get(conf().issuer, wait=conf().provider_timeout))


def push(parameters: dict[str, str]) -> str:
    """Leave an authorization request at the provider; return the `request_uri` for it.

    One per sign-in: it may be used once. RFC 9126 §2.
    """
    endpoint = metadata().par_endpoint
    if endpoint is None:
        raise ProviderNonsense("the metadata has no pushed_authorization_request_endpoint")
    answer = _post(endpoint, parameters)
    if answer.status != 201:
        raise ProviderRefused(_oauth_error(answer))
    body = answer.json()
    request_uri = body.get("request_uri") if isinstance(body, Mapping) else None
    if not isinstance(request_uri, str) or not request_uri:
        raise ProviderNonsense("the pushed request came back without a request_uri")
    return request_uri


def exchange(code: str, *, redirect_uri: str, code_verifier: str) -> TokenResponse:
    """Trade an authorization code for tokens, once. RFC 6749 §4.1.3; RFC 7636 §4.5."""
    return _token_request(
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": code_verifier,
        }
    )


def refresh(refresh_token: str, *, resource: str | None = None) -> TokenResponse:
    """Trade a refresh token for a new access token.

    Raises `GrantRefused` when the provider will never answer this token again;
    `ProviderUnreachable` with `sent` when the answer may have been lost after
    the token was rotated. RFC 6749 §6; RFC 8707 §2.2.
    """
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    if resource is not None:
        fields["resource"] = resource
    return _token_request(fields)


def revoke(token: str, hint: str, *, patience: float | None = None) -> bool:
    """Tell the provider to forget a token. False: it has no endpoint for that.

    A token that it does not know counts as forgotten. Waits `patience` seconds
    (default: `OIDC_TIMEOUT`). Raises `ProviderError` when it has to be asked again.
    RFC 7009 §2.
    """
    endpoint = metadata().revocation_endpoint
    if endpoint is None:
        return False
    answer = _post(endpoint, {"token": token, "token_type_hint": hint}, patience=patience)
    if answer.status == 200:
        return True
    error = _oauth_error(answer)
    if error == "unsupported_token_type":
        return True
    raise ProviderRefused(error)


def userinfo(access_token: str, subject: str) -> dict[str, Any]:
    """Return the UserInfo claims of `subject`.

    Raises `TokenRejected` when they are somebody else's, or unsigned though
    they claim a signature. OIDC Core 1.0 §5.3.
    """
    endpoint = metadata().userinfo_endpoint
    if endpoint is None:
        return {}
    answer = _ask("GET", endpoint, headers={"Authorization": f"Bearer {access_token}"})
    if answer.status != 200:
        raise ProviderRefused(f"userinfo_{answer.status}")
    if answer.headers.get("content-type", "").lower().startswith("application/jwt"):
        return claims.judge_userinfo(_signed_userinfo(answer.body), subject)
    return claims.judge_userinfo(answer.json(), subject)


def judge_id_token(
    token: str, *, nonce: str, access_token: str, max_age: int | None = None
) -> dict[str, Any]:
    """Return the claims of an ID token made for this sign-in. Raises `TokenRejected`."""
    return _with_fresh_keys(
        lambda keys: claims.judge_id_token(
            token,
            keys=keys,
            nonce=nonce,
            access_token=access_token,
            max_age=max_age,
            now=time.time(),
            **_expectations(),
        )
    )


def judge_refreshed_id_token(
    token: str, *, subject: str, first: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the claims of an ID token that came with a refresh. Raises `TokenRejected`."""
    return _with_fresh_keys(
        lambda keys: claims.judge_refreshed_id_token(
            token, keys=keys, subject=subject, first=first, now=time.time(), **_expectations()
        )
    )


def judge_logout_token(token: str) -> dict[str, Any]:
    """Return the claims of a logout token from the provider. Raises `TokenRejected`."""
    return _with_fresh_keys(
        lambda keys: claims.judge_logout_token(token, keys=keys, now=time.time(), **_expectations())
    )


def end_session_url(
    *, id_token_hint: str | None, post_logout_redirect_uri: str, state: str
) -> str | None:
    """Return where to send the browser to end the provider's own session, if anywhere.

    OIDC RP-Initiated Logout 1.0 §2.
    """
    endpoint = metadata().end_session_endpoint
    if endpoint is None:
        return None
    fields = {
        "client_id": conf().client_id,
        "post_logout_redirect_uri": post_logout_redirect_uri,
        "state": state,
    }
    if id_token_hint is not None:
        fields["id_token_hint"] = id_token_hint
    return endpoint + ("&" if "?" in endpoint else "?") + urlencode(fields)


# --- discovery and keys ---


def _fetch_metadata(issuer: str) -> dict[str, Any]:
    document = _get_json(issuer.rstrip("/") + WELL_KNOWN)
    if document.get("issuer") != issuer:
        raise ProviderNonsense("the metadata names another issuer")
    if "revocation_endpoint" not in document:
        document = {**oauth_metadata(issuer), **document}
    _read_metadata(document)
    return document


def oauth_metadata(issuer: str) -> dict[str, Any]:
    """The RFC 8414 document: some providers name their revocation endpoint only there."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    try:
        document = _get_json(f"{parts.scheme}://{parts.netloc}{WELL_KNOWN_OAUTH}{path}")
    except (ProviderNonsense, ProviderRefused, ProviderUnreachable):
        return {}
    if document.get("issuer") != issuer:
        return {}
    return {key: document[key] for key in ("revocation_endpoint",) if key in document}


def _read_metadata(document: Mapping[str, Any]) -> Metadata:
    def endpoint(name: str, *, required: bool = False) -> str | None:
        url = document.get(name)
        if url is None and not required:
            return None
        parts = _split(url) if isinstance(url, str) else None
        if parts is None or not parts.hostname or parts.fragment:
            raise ProviderNonsense(f"the metadata has no usable {name}")
        if parts.scheme != "https" and not (
            parts.scheme == "http"
            and is_loopback(parts.hostname)
            and conf().issuer.startswith("http:")
        ):
            raise ProviderNonsense(f"the {name} in the metadata is not https")
        return url

    methods = document.get("token_endpoint_auth_methods_supported")
    return Metadata(
        issuer=str(document.get("issuer")),
        authorization_endpoint=str(endpoint("authorization_endpoint", required=True)),
        token_endpoint=str(endpoint("token_endpoint", required=True)),
        jwks_uri=str(endpoint("jwks_uri", required=True)),
        userinfo_endpoint=endpoint("userinfo_endpoint"),
        revocation_endpoint=endpoint("revocation_endpoint"),
        end_session_endpoint=endpoint("end_session_endpoint"),
        auth_methods=tuple(methods) if isinstance(methods, list) else ("client_secret_basic",),
        par_endpoint=endpoint("pushed_authorization_request_endpoint"),
        par_required=document.get("require_pushed_authorization_requests") is True,
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _fetch_keys(jwks_uri: str) -> dict[str, Any]:
    document = _get_json(jwks_uri)
    if not isinstance(document.get("keys"), list):
        raise ProviderNonsense("the key set has no keys")
    return {"keys": [key for key in document["keys"] if isinstance(key, dict)]}


_metadata = Remembered("metadata", _fetch_metadata)
_keys = Remembered("keys", _fetch_keys)


def _with_fresh_keys(judge: Callable[[Sequence[Mapping[str, Any]]], Verdict]) -> Verdict:
    """Judge with the known keys, and once more with newer ones if none of them fits."""
    address, wait = metadata().jwks_uri, conf().provider_timeout
    try:
        return judge(_keys.get(address, wait=wait)["keys"])
    except TokenRejected as rejected:
        if rejected.reason != "unknown_key":
            raise
        return judge(_keys.get_newer(address, wait=wait)["keys"])


def _expectations() -> dict[str, str]:
    return {
        "algorithm": conf().sign_algorithm,
        "issuer": conf().issuer,
        "client_id": conf().client_id,
    }


def _signed_userinfo(body: bytes) -> dict[str, Any]:
    token = body.decode("ascii", "replace")
    _, found = _with_fresh_keys(
        lambda keys: claims.judge_signature(token, keys=keys, algorithm=conf().sign_algorithm)
    )
    audience = found.get("aud")
    if found.get("iss") != conf().issuer:
        raise TokenRejected("userinfo_iss_wrong")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or conf().client_id not in audiences:
        raise TokenRejected("userinfo_aud_wrong")
    return dict(found)


# --- requests ---


def _token_request(fields: dict[str, str]) -> TokenResponse:
    answer = _post(metadata().token_endpoint, fields)
    if answer.status == 200:
        body = answer.json()
        if isinstance(body, Mapping) and "error" in body:
            raise ProviderRefused(safe_code(body["error"]))
        try:
            return claims.judge_token_response(body)
        except ProviderNonsense:
            if fields["grant_type"] == "authorization_code":
                _forget_tokens(body)
            raise
    error = _oauth_error(answer)
    if error == "invalid_grant":
        raise GrantRefused("the provider answered invalid_grant")
    raise ProviderRefused(error)


def _forget_tokens(body: Any) -> None:
    """Revoke what came in a response that cannot be used, as far as that goes."""
    for name in ("refresh_token", "access_token"):
        token = body.get(name) if isinstance(body, Mapping) else None
        if isinstance(token, str) and token:
            with contextlib.suppress(ProviderError):
                revoke(token, name)


def _oauth_error(answer: Answer) -> str:
    """The `error` code of a refusal. RFC 6749 §5.2. Raises `ProviderNonsense` without one."""
    body = answer.json()
    if not isinstance(body, Mapping) or "error" not in body:
        raise ProviderNonsense(f"status {answer.status} without an OAuth error")
    return safe_code(body["error"])


def safe_code(error: Any) -> str:
    """An error code that is safe to log."""
    return error if isinstance(error, str) and re.fullmatch(r"[a-z0-9_]{1,40}", error) else "odd"


def _post(url: str, fields: dict[str, str], *, patience: float | None = None) -> Answer:
    """POST a form as our client. RFC 6749 §2.3.1."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    client = client_auth.Client(
        client_id=conf().client_id,
        issuer=conf().issuer,
        secret=conf().client_secret,
        key=conf().client_key,
    )
    ours, shown = client_auth.credentials(client, auth_method())
    body = urlencode({**fields, **ours})
    return _ask("POST", url, headers={**headers, **shown}, body=body, patience=patience)


def auth_method() -> str:
    """How we authenticate: as configured, else what the provider's metadata prefers."""
    configured = conf().client_auth
    if configured is not None:
        return configured
    methods = metadata().auth_methods
    if "client_secret_basic" in methods or "client_secret_post" not in methods:
        return "client_secret_basic"
    return "client_secret_post"


def _get_json(url: str) -> dict[str, Any]:
    answer = look(url)
    if answer.status != 200:
        raise ProviderNonsense(f"status {answer.status} instead of a document")
    document = answer.json()
    if not isinstance(document, dict):
        raise ProviderNonsense("the document is not a JSON object")
    return document


def _ask(
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
        response = _pool().urlopen(
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
def _pool() -> urllib3.PoolManager:
    """Connections of this process. No redirects, no retries, no proxies from the environment."""
    return urllib3.PoolManager(num_pools=4, maxsize=8)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_QUESTIONS, thread_name_prefix="oauthbff-provider")


@receiver(setting_changed)
def _forget(**_: object) -> None:
    _metadata.forget()
    _keys.forget()
