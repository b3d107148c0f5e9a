"""Tokens: traded for codes and for older tokens, and given back."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from oauthbff import claims, client_auth
from oauthbff.claims import TokenResponse
from oauthbff.conf import conf
from oauthbff.errors import GrantRefused, ProviderError, ProviderNonsense, ProviderRefused

from .asking import Answer, ask
from .discovery import metadata


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


def may_revoke() -> bool:
    """Whether the provider has an endpoint for revocation. Raises `ProviderError`."""
    return metadata().revocation_endpoint is not None


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


def auth_method() -> str:
    """How we authenticate: as configured, else what the provider's metadata prefers."""
    configured = conf().client_auth
    if configured is not None:
        return configured
    methods = metadata().auth_methods
    if "client_secret_basic" in methods or "client_secret_post" not in methods:
        return "client_secret_basic"
    return "client_secret_post"


def safe_code(error: Any) -> str:
    """An error code that is safe to log."""
    return error if isinstance(error, str) and re.fullmatch(r"[a-z0-9_]{1,40}", error) else "odd"


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
    return ask("POST", url, headers={**headers, **shown}, body=body, patience=patience)
