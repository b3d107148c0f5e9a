"""A Backend for Frontend for Django: the browser holds a cookie, the server the tokens.

The way in, room by room, from the pure to the doors:

    errors          the tree of errors: whose fault it is, does the grant survive
    correlation     one id per request, in all logs
    browser_socket  a browser that stalls or has left, where the server shows its socket
    telemetry       counters, histograms and spans, where OpenTelemetry is installed
    events          what is written into the log: each thing declared once
    conf/           settings become one frozen, typed, validated object
    cookies         reading one cookie by its exact bytes                       (pure)
    devices         a User-Agent header in two words                            (pure)
    origin          is this call made by our own page?                          (pure)
    client_auth     how we show the provider who we are                         (pure)
    claims          judging ID tokens and token responses                       (pure)
    fronting/       the configuration of a proxy in front                       (pure)
    diagnosis       what a doctor makes of provider and site                    (pure)
    forwarding/     what may pass between browser and upstream                  (pure)
    breaker         is an upstream left alone for a while?                      (pure)
    bulkhead        how many calls at once to an upstream, and whether any
    primed          what the lane knows of a grant for seconds, in a store of all hosts
    remembered      a document fetched once for all processes
    datakeys        one key per grant, wrapped by a key store; aws_kms is one
    vault           sealing and opening secrets; key ids
    models          TokenGrant, Identity, GrantEvent, SpentToken
    provider        the only room that talks to the provider
    upstream        the only room that talks to upstreams
    grants/         issue, current, fresh, end, tell: the only room that changes a grant
    middleware      the cookie guard; `request.grant`; a fallen grant signs its session out
    authentication  DRF: our header, our session, a 401 that is not a 403
    door            what every fetched door has in common: problems, `no-store`, CSRF
    calls           a call to an upstream, judged before anything is sent
    login/          login/, callback/, logout/, logged-out/
    session         session/ and sessions/
    backchannel     backchannel-logout/
    proxy           api/<upstream>/<path>
    edge            authorize/<upstream>/: the proxy in front carries, Django decides
    streams         event streams are cut when their grant ends
    lane/           the same in front of Django, as ASGI, for what needs nothing from it
    accesslog       keeps the authorization code out of access logs
    reporting       keeps secrets out of error pages and mails
    admin/          the pages for staff: see every grant, end any, know what became of it
    checks, signals, apps, urls
    openapi/        the doors as an OpenAPI document; with drf-spectacular or without
    testing/        for the tests of a site; no other room imports it

Imports go one way, downwards in this list never. *Where can a token leave the
process?* `provider` and `upstream`, and `lane.wire` beside the latter. *Who can
decrypt?* `vault`. *Who changes a grant?* `grants`. *What can a stranger knock on?* `urls`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.http import HttpRequest

    from .models import TokenGrant

__version__ = "0.1.0"
__all__ = ["access_token"]


def access_token(of: HttpRequest | TokenGrant, resource: str | None = None) -> str:
    """Return an access token with life left, for code of the site that calls an API itself.

    `of` is a request whose session has a grant, or a `TokenGrant` (in a task or a
    command). The same single refresh for all who ask, the same errors:
    `errors.LoginRequired`, `errors.GrantEnded` (do not ask again) and
    `errors.ProviderError` (the grant stands; try after `retry_after` seconds).
    `RuntimeError` when a refresh is due inside a transaction: a rollback would lose a token.
    Keep the result out of logs and answers, and ask again rather than store it.
    """
    from . import grants
    from .models import TokenGrant

    grant = grants.reread(of) if isinstance(of, TokenGrant) else grants.current(of)
    return grants.fresh(grant, resource=resource)
