"""What the settings become: frozen values that the whole house reads. No reading, no judging."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from urllib.parse import SplitResult, urlsplit

from oauthbff.client_auth import Key

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds the proxy waits for an upstream, phase by phase."""

    #: Until the connection stands, TLS included.
    connect: float = 3.0
    #: From there to the head of the answer.
    first_byte: float = 30.0
    #: Longest silence inside an answer. An event stream should send a heartbeat within it.
    idle: float = 60.0
    #: Longest time from the call to the last byte of its answer. Event streams have no such end.
    total: float = 3600.0


@dataclass(frozen=True, kw_only=True)
class Breaking:
    """When calls to an upstream that does not answer are refused at once."""

    #: Connections that failed and answers that did not begin in time, in a row. 0: never.
    failures: int = 5
    #: Seconds until one call may try again.
    cooldown: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """One API the SPA may call through us: a row of `OAUTHBFF["UPSTREAMS"]`."""

    name: str
    #: `https://host[:port]/prefix/`; nothing outside this prefix is ever reached.
    url: str
    #: Whose token is attached: `user`, `user-or-none` (anonymous passes), `none`.
    token: str = "user"
    #: RFC 8707 resource indicator; the route then gets an access token of its own.
    resource: str | None = None
    #: What may be called; all else is a 405.
    methods: tuple[str, ...] = METHODS
    #: Anchored patterns; one must match the whole path that is sent. Empty: every path.
    paths: tuple[re.Pattern[str], ...] = ()
    #: Bytes of request body.
    max_body: int = 100 * 1024 * 1024
    #: Bytes of an answer; None: any number, they pass in constant memory.
    max_answer: int | None = None
    #: How long to wait, phase by phase; see below.
    timeouts: Timeouts = Timeouts()
    #: Calls that one process has under way at once. Fewer than it has threads: then this
    #: upstream cannot take them all.
    max_calls: int = 100
    #: Event streams that one process has open at once.
    max_streams: int = 500
    #: When calls are refused at once because nobody answers; see below.
    breaker: Breaking = Breaking()
    #: Dotted DRF permission classes, asked before each call.
    permissions: tuple[str, ...] = ()
    #: Dotted DRF throttle classes, each with a rate of its own.
    throttles: tuple[str, ...] = ()
    #: Further request headers that pass. Cookie, Authorization and hop-by-hop never can.
    headers: tuple[str, ...] = ()
    #: Further response headers that pass. Set-Cookie, CORS and hop-by-hop never can.
    response_headers: tuple[str, ...] = ()
    #: `Sec-Fetch-Dest` values that pass without the CSRF header on GET and HEAD.
    embed: tuple[str, ...] = ()
    #: Let the browser keep answers (`private`, as the upstream says). Default: `no-store`.
    cache: bool = False
    #: Let WebSockets to this API through. Django itself carries none: the lane or the edge does.
    websocket: bool = False
    #: For a plain-http API inside a network that you trust as much as this host.
    allow_insecure_http: bool = False
    #: For an API of the provider itself, under the issuer's own address.
    allow_provider: bool = False

    def __hash__(self) -> int:
        """By two fields of many: each call asks for what belongs to its route."""
        return hash((self.name, self.url))

    @cached_property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)


@dataclass(frozen=True)
class StoredKey:
    """A key that never leaves its key store: it wraps a data key for each grant there."""

    #: Dotted path of a `datakeys.KeyStore`.
    store: str
    #: What the store calls the key.
    name: str


@dataclass(frozen=True, kw_only=True)
class Conf:
    """The whole configuration. Seconds are integers, times on the wire."""

    # mozilla-django-oidc's own names, and the issuer from which the rest is discovered.
    #: The provider, as it names itself; everything else is discovered from it. Needed.
    issuer: str
    #: Who we are there. Needed.
    client_id: str
    #: And how we prove it. Needed, but with `CLIENT_KEY`.
    client_secret: str = field(repr=False)
    #: What is asked for at sign-in, separated by blanks; `openid` must be among them.
    scopes: tuple[str, ...]
    #: The one algorithm the provider signs our ID tokens with.
    sign_algorithm: str
    #: Longest time one question to the provider may take, all in all.
    provider_timeout: float
    #: How we authenticate there: `client_secret_basic`, `client_secret_post` or `private_key_jwt`.
    #: None: what its metadata prefers.
    client_auth: str | None
    #: The private key of `private_key_jwt`.
    client_key: Key | None = field(repr=False)

    #: Our public origin, `https://app.example.com`. redirect_uri is built from it, never from Host.
    base_url: str
    #: Name → route: the APIs that may be called, and no other; see below.
    upstreams: Mapping[str, Upstream]
    #: Key id → 32 bytes, or a key in a key store. The first seals, all can open.
    keys: Mapping[str, bytes | StoredKey] = field(repr=False)
    #: Scheme → dotted path of a `datakeys.KeyStore`.
    key_stores: Mapping[str, str]
    #: How long a process remembers a data key that its key store has unwrapped.
    data_key_seconds: int = 300
    #: A Redis that all hosts share, `redis://…`, for the lane: docs/lane.md. Empty: none.
    lane_store: str = ""
    #: A grant unused for so long ends.
    idle_timeout: int = 1800
    #: A grant ends so long after sign-in, used or not.
    absolute_timeout: int = 28800
    #: Refresh begins so long before the access token expires.
    refresh_leeway: int = 60
    #: What session/ may tell the SPA of the user.
    claims: tuple[str, ...] = ("sub", "name", "email", "picture")
    #: Ask the provider's UserInfo at sign-in; its `sub` must match.
    userinfo: bool = True
    #: Push each authorization request, RFC 9126; done anyway where the provider requires it.
    par: bool = False
    #: The header that every fetched call must carry, with the value 1.
    header: str = "X-BFF"
    #: A header in which your own proxy writes an id for each request (`X-Request-ID`,
    #: `traceparent`); None: we make one. Name it only if browsers cannot set it.
    request_id_header: str | None = None
    #: What a proxy shows at `authorize/`, in printable ASCII; None: there is no such door.
    edge_secret: str | None = field(default=None, repr=False)
    #: Seconds for which such a proxy may remember an answer. 0: it asks each time.
    edge_remember: int = 1
    #: Where to go when nothing better is known.
    home_url: str = "/"
    #: Where a failed sign-in is shown; None: our own page.
    error_url: str | None = None
    #: Dotted callable `(user, claims) -> None`, called at each sign-in before the user is saved.
    claims_hook: str | None = None
    #: The last day (`"2027-01-31"`, UTC) on which somebody new may be taken for the one user who
    #: has their verified e-mail address, for sites that had users before; None: never.
    match_email_until: date | None = None
    #: Dotted callable `(address) -> str`: where that is, in words, for the list of sign-ins.
    place_hook: str | None = None
    #: A changed password ends all of a user's grants. Off: the session it was changed in stays,
    #: the others go, as is Django's own rule.
    end_on_password_change: bool = False
    #: Days after which a revocation that the provider never confirmed is given up.
    revocation_days: int = 7
    #: Days that ended grants and their events are kept.
    retention_days: int = 90

    @property
    def lease_seconds(self) -> float:
        """How long one step of a refresh may hold its lease.

        Each step is one question to the provider, bounded by `provider_timeout`, or
        two for its keys; the lease is renewed between steps. So a slow refresher is
        never overtaken with the same refresh token, by construction.
        """
        return 2 * self.provider_timeout + 5

    @property
    def touch_seconds(self) -> float:
        """`last_used_at` is written at most this often."""
        return min(60.0, self.idle_timeout / 10)
