"""What the provider says of itself: its metadata and its keys, remembered for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlencode, urlsplit

from django.core.signals import setting_changed
from django.dispatch import receiver

from oauthbff.conf import conf, is_loopback
from oauthbff.errors import (
    ProviderNonsense,
    ProviderRefused,
    ProviderUnreachable,
    TokenRejected,
)
from oauthbff.remembered import Remembered

from .asking import Answer, ask

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


def look(url: str) -> Answer:
    """Fetch a public document past all caches, for diagnosis. Raises `ProviderError`."""
    return ask("GET", url, headers={"Accept": "application/json"})


def keys_now(jwks_uri: str) -> list[dict[str, Any]]:
    """Return the provider's keys as published just now. Raises `ProviderError`."""
    return list(_fetch_keys(jwks_uri)["keys"])


def metadata() -> Metadata:
    """Return the provider's metadata, discovered from the issuer. Raises `ProviderError`."""
    return _read_metadata(_metadata.get(conf().issuer, wait=conf().provider_timeout))


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


def with_fresh_keys(judge: Callable[[Sequence[Mapping[str, Any]]], Verdict]) -> Verdict:
    """Judge with the known keys, and once more with newer ones if none of them fits."""
    address, wait = metadata().jwks_uri, conf().provider_timeout
    try:
        return judge(_keys.get(address, wait=wait)["keys"])
    except TokenRejected as rejected:
        if rejected.reason != "unknown_key":
            raise
        return judge(_keys.get_newer(address, wait=wait)["keys"])


def _fetch_metadata(issuer: str) -> dict[str, Any]:
    document = _get_json(issuer.rstrip("/") + WELL_KNOWN)
    if document.get("issuer") != issuer:
        raise ProviderNonsense("the metadata names another issuer")
    if "revocation_endpoint" not in document:
        document = {**oauth_metadata(issuer), **document}
    _read_metadata(document)
    return document


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


def _get_json(url: str) -> dict[str, Any]:
    answer = look(url)
    if answer.status != 200:
        raise ProviderNonsense(f"status {answer.status} instead of a document")
    document = answer.json()
    if not isinstance(document, dict):
        raise ProviderNonsense("the document is not a JSON object")
    return document


_metadata = Remembered("metadata", _fetch_metadata)
_keys = Remembered("keys", _fetch_keys)


@receiver(setting_changed)
def _forget(**_: object) -> None:
    _metadata.forget()
    _keys.forget()
