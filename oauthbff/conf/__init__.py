"""Settings: read once, judged as a whole, then one frozen object.

`conf()` is the only place that reads `django.conf.settings`; the rest of the
house asks it. Every mistake is found in one go and carries the id that
`manage.py check` shows. An unknown key is refused: a typo in a security
setting must not mean its default.

    values    what the settings become
    reading   one pass over them that goes on after a mistake
    provider  the provider's side
    site      our own side
    edge      the proxy in front
    keys      what seals tokens
    routes    the APIs that may be called
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

from django.core.signals import setting_changed
from django.dispatch import receiver

from oauthbff.errors import Misconfigured

from . import edge, keys, provider, routes, site
from .keys import KEY_BYTES, KEY_ID
from .provider import SIGNATURE_ALGORITHMS
from .reading import Reading, is_loopback
from .routes import NEVER_PASS, never_passes
from .values import METHODS, Breaking, Conf, StoredKey, Timeouts, Upstream

__all__ = [
    "KEY_BYTES",
    "KEY_ID",
    "METHODS",
    "NEVER_PASS",
    "SIGNATURE_ALGORITHMS",
    "Breaking",
    "Conf",
    "StoredKey",
    "Timeouts",
    "Upstream",
    "conf",
    "is_loopback",
    "never_passes",
]

#: Fields of `Conf` that are not written in `OAUTHBFF`.
_FROM_OIDC = {
    "issuer",
    "client_id",
    "client_secret",
    "scopes",
    "sign_algorithm",
    "provider_timeout",
}
#: Settings that only their type judges.
_PLAIN: dict[str, Any] = {
    "idle_timeout": int,
    "absolute_timeout": int,
    "refresh_leeway": int,
    "userinfo": bool,
    "par": bool,
    "end_on_password_change": bool,
    "home_url": str,
    "error_url": str,
    "claims_hook": str,
    "request_id_header": str,
    "place_hook": str,
    "revocation_days": int,
    "retention_days": int,
    "data_key_seconds": int,
}


@cache
def conf() -> Conf:
    """Return the validated settings. Raises `Misconfigured` with everything that is wrong."""
    read = Reading()
    result = _read(read)
    if read.problems:
        raise Misconfigured(read.problems)
    return result


@receiver(setting_changed)
def _forget(*, setting: str, **_: object) -> None:
    if (
        setting in ("OAUTHBFF", "SESSION_ENGINE")
        or setting.startswith("OIDC_")
        or setting == "SECRET_KEY"
    ):
        conf.cache_clear()


def _read(read: Reading) -> Conf:
    ours = [field.name.upper() for field in fields(Conf) if field.name not in _FROM_OIDC]
    read.unknown(read.given, ours, 'OAUTHBFF["%s"]')
    site.check_session_engine(read)
    return Conf(
        issuer=provider.issuer(read),
        client_id=read.required("OIDC_RP_CLIENT_ID"),
        scopes=provider.scopes(read),
        sign_algorithm=provider.algorithm(read),
        provider_timeout=provider.provider_timeout(read),
        **provider.client_authentication(read),
        base_url=site.base_url(read),
        upstreams=routes.upstreams(read),
        keys=keys.keys(read),
        key_stores=keys.key_stores(read),
        header=site.header(read),
        lane_store=site.lane_store(read),
        match_email_until=site.match_email_until(read),
        edge_secret=edge.secret(read),
        edge_remember=edge.remember(read),
        claims=read.strings("CLAIMS", read.default("claims")),
        **{name: read.plain(name, kind) for name, kind in _PLAIN.items()},
    )
