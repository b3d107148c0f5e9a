"""Sign a Django test client in as a callback would, without the way through a browser.

What needs Django's settings is imported when it is used: the provider beside this works without.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from .provider import StrictProvider

if TYPE_CHECKING:
    from django.test import Client

    from oauthbff.claims import TokenResponse
    from oauthbff.models import TokenGrant

LIFETIME = 3600


def bff_login(
    client: Client,
    *,
    sub: str = "jane",
    scopes: Iterable[str] | None = None,
    claims: Mapping[str, Any] | None = None,
    user: Any = None,
    provider: StrictProvider | None = None,
) -> TokenGrant:
    """Sign `client` in and return its grant.

    The user is found by (issuer, sub), or made, as at a real sign-in: `claims` go through
    `CLAIMS_HOOK`, and `session/` shows those that `CLAIMS` lets through. With `user` it is
    that one. `scopes` default to `OIDC_RP_SCOPES`. The tokens are invented, so a refresh finds
    no provider, unless `provider` is one of ours. From now on the client sends the header that
    our doors ask for.
    """
    from oauthbff import grants
    from oauthbff.conf import conf

    told = {"sub": sub, **(claims or {})}
    if user is None:
        user = _user(told)
    granted = tuple(conf().scopes if scopes is None else scopes)
    client.force_login(user, backend="oauthbff.login.OIDCBackend")
    session = client.session
    grant = grants.issue(
        user=user,
        tokens=_tokens(sub, granted, provider),
        subject=sub,
        sid="",
        authenticated_at=timezone.now(),
        shown_claims={name: told[name] for name in conf().claims if name in told},
        session_key=str(session.session_key),
        ip="127.0.0.1",
        user_agent="oauthbff.testing",
    )
    session[grants.HANDLE] = str(grant.pk)
    session.save()
    client.defaults["HTTP_" + conf().header.upper().replace("-", "_")] = "1"
    return grant


def let_access_token_expire(client: Client) -> None:
    """Let the access token of the client's grant run out: its next call refreshes it."""
    from oauthbff.grants import HANDLE
    from oauthbff.models import TokenGrant

    before = timezone.now() - timedelta(seconds=1)
    handle = client.session[HANDLE]
    TokenGrant.objects.filter(pk=handle).update(access_expires_at=before)


def _user(claims: dict[str, Any]) -> Any:
    from oauthbff.login import OIDCBackend

    backend = OIDCBackend()
    found = backend.filter_users_by_claims(claims)
    if found:
        return backend.update_user(found[0], claims)
    return backend.create_user(claims)


def _tokens(sub: str, scopes: tuple[str, ...], provider: StrictProvider | None) -> TokenResponse:
    from oauthbff.claims import TokenResponse, judge_token_response

    if provider is not None:
        return judge_token_response(provider.sign_in(sub, scope=" ".join(scopes)))
    return TokenResponse(
        access_token=f"invented-access-token-{secrets.token_urlsafe(8)}",
        expires_in=LIFETIME,
        refresh_token=f"invented-refresh-token-{secrets.token_urlsafe(8)}",
        scopes=scopes,
    )
