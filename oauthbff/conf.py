"""Settings: read once, judged as a whole, then one frozen object.

`conf()` is the only place that reads `django.conf.settings`; the rest of the
house asks it. Every mistake is found in one go and carries the id that
`manage.py check` shows. An unknown key is refused: a typo in a security
setting must not mean its default.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from .client_auth import METHODS as AUTH_METHODS
from .client_auth import Key, read_key
from .errors import Misconfigured

SIGNATURE_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
TOKEN_MODES = ("user", "user-or-none", "none")
KEY_BYTES = 32

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
ROUTE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
AMBIGUOUS_PATH = re.compile(
    r"[^!$&'()*+,\-./0-9:;=@A-Z_a-z~%]|//|/\.{1,2}(/|$)|%2[ef]|%5c|%[01]|%(?![0-9a-f]{2})", re.I
)
KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds the proxy waits for an upstream, phase by phase."""

    connect: float = 3.0
    first_byte: float = 30.0
    #: Longest silence inside an answer. An event stream should send a heartbeat within it.
    idle: float = 60.0


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
    methods: tuple[str, ...] = METHODS
    #: Anchored patterns; one must match the whole path that is sent. Empty: every path.
    paths: tuple[re.Pattern[str], ...] = ()
    #: Bytes of request body.
    max_body: int = 100 * 1024 * 1024
    timeouts: Timeouts = Timeouts()
    #: Dotted DRF permission and throttle classes.
    permissions: tuple[str, ...] = ()
    throttles: tuple[str, ...] = ()
    #: Further request headers that pass. Cookie, Authorization and hop-by-hop never can.
    headers: tuple[str, ...] = ()
    #: Further response headers that pass. Set-Cookie, CORS and hop-by-hop never can.
    response_headers: tuple[str, ...] = ()
    #: `Sec-Fetch-Dest` values that pass without the CSRF header on GET and HEAD.
    embed: tuple[str, ...] = ()
    #: Let the browser keep answers (`private`, as the upstream says). Default: `no-store`.
    cache: bool = False
    #: For a plain-http API inside a network that you trust as much as this host.
    allow_insecure_http: bool = False

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)


@dataclass(frozen=True, kw_only=True)
class Conf:
    """The whole configuration. Seconds are integers, times on the wire."""

    # mozilla-django-oidc's own names, and the issuer from which the rest is discovered.
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...]
    #: The one algorithm the provider signs our ID tokens with.
    sign_algorithm: str
    #: Longest time one question to the provider may take, all in all.
    provider_timeout: float
    #: How we authenticate at the provider; None: what its metadata prefers.
    client_auth: str | None
    #: The private key of `private_key_jwt`.
    client_key: Key | None = field(repr=False)

    #: Our public origin, `https://app.example.com`. redirect_uri is built from it, never from Host.
    base_url: str
    upstreams: Mapping[str, Upstream]
    #: Key id → 32 bytes. The first seals, all can open.
    keys: Mapping[str, bytes] = field(repr=False)
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
    #: Where to go when nothing better is known.
    home_url: str = "/"
    #: Where a failed sign-in is shown; None: our own page.
    error_url: str | None = None
    #: Dotted callable `(user, claims) -> None`, called at each sign-in before the user is saved.
    claims_hook: str | None = None
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


@cache
def conf() -> Conf:
    """Return the validated settings. Raises `Misconfigured` with everything that is wrong."""
    reading = _Reading()
    result = reading.conf()
    if reading.problems:
        raise Misconfigured(reading.problems)
    return result


@receiver(setting_changed)
def _forget(*, setting: str, **_: object) -> None:
    if (
        setting in ("OAUTHBFF", "SESSION_ENGINE")
        or setting.startswith("OIDC_")
        or setting == "SECRET_KEY"
    ):
        conf.cache_clear()


def is_loopback(host: str | None) -> bool:
    """Whether the host names this very machine, so that plain http is safe."""
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Reading:
    """One pass over the settings that goes on after a mistake, to report them all."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, str, str]] = []
        given = getattr(settings, "OAUTHBFF", None)
        if not isinstance(given, Mapping):
            self.say("E001", "OAUTHBFF is not a dictionary.", "Add OAUTHBFF = {…} to the settings.")
            given = {}
        self.given: Mapping[str, Any] = given
        if settings.SESSION_ENGINE == "django.contrib.sessions.backends.signed_cookies":
            sentence = "SESSION_ENGINE keeps sessions in the cookie: they could not be ended here."
            self.say("E027", sentence, "Use the db, cached_db, cache or file engine.")

    def say(self, check: str, sentence: str, hint: str) -> None:
        self.problems.append((f"oauthbff.{check}", sentence, hint))

    def conf(self) -> Conf:
        ours = {f.name: f.name.upper() for f in fields(Conf) if f.name not in _FROM_OIDC}
        ours |= {"client_auth": "CLIENT_AUTH", "client_key": "CLIENT_KEY"}
        self.unknown(self.given, ours.values(), 'OAUTHBFF["%s"]')
        return Conf(
            issuer=self.issuer(),
            client_id=self.required("OIDC_RP_CLIENT_ID"),
            scopes=self.scopes(),
            sign_algorithm=self.algorithm(),
            provider_timeout=self.provider_timeout(),
            **self.client_authentication(),
            base_url=self.base_url(),
            upstreams=self.upstreams(),
            keys=self.keys(),
            header=self.header(),
            claims=self.strings("CLAIMS", self.default("claims")),
            **{name: self.plain(name) for name in _PLAIN},
        )

    # --- values ---

    @staticmethod
    def default(name: str) -> Any:
        found = next(f for f in fields(Conf) if f.name == name).default
        return None if found is MISSING else found

    def plain(self, name: str) -> Any:
        key, kind = name.upper(), _PLAIN[name]
        value = self.given.get(key, self.default(name))
        if value is None and self.default(name) is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.say("E002", f'OAUTHBFF["{key}"] must be {kind.__name__}.', f"It is {value!r}.")
            return self.default(name)
        if kind is int and value < (0 if name == "refresh_leeway" else 1):
            self.say("E002", f'OAUTHBFF["{key}"] must be more than zero.', f"It is {value!r}.")
            return self.default(name)
        return value

    def strings(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self.given.get(key, default)
        return self.sequence(f'OAUTHBFF["{key}"]', value)

    def sequence(self, where: str, value: Any) -> tuple[str, ...]:
        strings = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
        if not strings:
            self.say("E002", f"{where} must be a list of strings.", f"It is {value!r}.")
            return ()
        return tuple(value)

    def required(self, name: str) -> str:
        value = getattr(settings, name, None)
        if not isinstance(value, str) or not value:
            self.say("E003", f"{name} is not set.", "The provider gave it at registration.")
            return ""
        return value

    def header(self) -> str:
        value = self.given.get("HEADER", self.default("header"))
        if not isinstance(value, str) or not HEADER_NAME.fullmatch(value) or "_" in value:
            self.say("E002", 'OAUTHBFF["HEADER"] is not a header name.', f"It is {value!r}.")
            return str(self.default("header"))
        return value

    def unknown(self, given: Mapping[str, Any], known: Any, shape: str) -> None:
        names = list(known)
        for key in given:
            if key in names:
                continue
            close = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
            hint = f"Did you mean {shape % close[0]}?" if close else f"Known: {', '.join(names)}."
            self.say("E004", f"{shape % key} is not a setting.", hint)

    # --- the provider ---

    def issuer(self) -> str:
        value = getattr(settings, "OIDC_OP_ISSUER", None)
        if not isinstance(value, str) or not value:
            hint = "Set it to the provider's issuer; the endpoints are discovered from it."
            self.say("E005", "OIDC_OP_ISSUER is not set.", hint)
            return ""
        parts = _split(value)
        if parts is None or parts.scheme not in ("https", "http") or not parts.hostname:
            self.say("E006", "OIDC_OP_ISSUER is not an https URL.", f"It is {value!r}.")
        elif parts.query or parts.fragment or parts.username is not None:
            hint = "An issuer has no query, fragment or user. OIDC Discovery 1.0 §3."
            self.say("E006", f"OIDC_OP_ISSUER is {value!r}.", hint)
        elif parts.scheme == "http" and not is_loopback(parts.hostname):
            hint = "Tokens would cross the network in clear. Use https."
            self.say("E006", f"OIDC_OP_ISSUER is {value!r}: http is for loopback only.", hint)
        return value

    def scopes(self) -> tuple[str, ...]:
        value = getattr(settings, "OIDC_RP_SCOPES", "openid email")
        scopes = tuple(dict.fromkeys(str(value).split()))
        if "openid" not in scopes:
            hint = "Without it there is no ID token, and nobody can be signed in."
            self.say("E007", 'OIDC_RP_SCOPES does not contain "openid".', hint)
        return scopes

    def algorithm(self) -> str:
        value = getattr(settings, "OIDC_RP_SIGN_ALGO", "RS256")
        if value not in SIGNATURE_ALGORITHMS:
            hint = (
                f"Use one of {', '.join(SIGNATURE_ALGORITHMS)}; HMAC and none are never accepted."
            )
            self.say("E008", f"OIDC_RP_SIGN_ALGO is {value!r}.", hint)
            return "RS256"
        return str(value)

    def provider_timeout(self) -> float:
        value = getattr(settings, "OIDC_TIMEOUT", 10)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 120:
            hint = f"Seconds, more than 0 and at most 120. It is {value!r}."
            self.say("E009", "OIDC_TIMEOUT is not usable.", hint)
            return 10.0
        return float(value)

    def client_authentication(self) -> dict[str, Any]:
        """How we authenticate: CLIENT_AUTH, or mozilla-django-oidc's own switch, or by metadata."""
        method = self.given.get("CLIENT_AUTH")
        basic = getattr(settings, "OIDC_TOKEN_USE_BASIC_AUTH", None)
        if basic not in (None, True, False):
            self.say("E026", "OIDC_TOKEN_USE_BASIC_AUTH must be True or False.", f"{basic!r}")
        elif method is None and basic is not None:
            method = "client_secret_basic" if basic else "client_secret_post"
        key = None
        if self.given.get("CLIENT_KEY"):
            method = method or "private_key_jwt"
            try:
                key = read_key(str(self.given["CLIENT_KEY"]))
            except ValueError as exc:
                self.say("E026", 'OAUTHBFF["CLIENT_KEY"] is not usable.', f"{exc}.")
        if method is not None and method not in AUTH_METHODS:
            hint = f"One of {', '.join(AUTH_METHODS)}."
            self.say("E026", f'OAUTHBFF["CLIENT_AUTH"] is {method!r}.', hint)
        if method == "private_key_jwt":
            if not self.given.get("CLIENT_KEY"):
                hint = "A JWK or PEM; register its public half at the provider."
                self.say("E026", 'private_key_jwt needs OAUTHBFF["CLIENT_KEY"].', hint)
            return {"client_auth": method, "client_key": key, "client_secret": ""}
        secret = self.required("OIDC_RP_CLIENT_SECRET")
        return {"client_auth": method, "client_key": key, "client_secret": secret}

    # --- ourselves ---

    def base_url(self) -> str:
        value = self.given.get("BASE_URL")
        hint = 'Set it to the site\'s public origin, such as "https://app.example.com".'
        if not isinstance(value, str) or not value:
            self.say("E010", 'OAUTHBFF["BASE_URL"] is not set.', hint)
            return ""
        value = value.rstrip("/")
        parts = _split(value)
        if (
            parts is None
            or parts.scheme not in ("https", "http")
            or not parts.hostname
            or parts.path
            or "?" in value
            or "#" in value
            or parts.username is not None
        ):
            self.say("E010", f'OAUTHBFF["BASE_URL"] is {value!r}: not an origin.', hint)
        elif parts.scheme == "http" and not is_loopback(parts.hostname):
            hint = "Cookies and pages would cross the network in clear. Use https."
            self.say("E011", f'OAUTHBFF["BASE_URL"] is {value!r}: http is for loopback.', hint)
        return _origin(parts) if parts is not None else ""

    def keys(self) -> Mapping[str, bytes]:
        given = self.given.get("KEYS")
        hint = "Generate one: manage.py oauthbff_key"
        if not isinstance(given, Mapping) or not given:
            self.say("E012", 'OAUTHBFF["KEYS"] is empty: nothing to seal tokens with.', hint)
            return {}
        keys: dict[str, bytes] = {}
        for key_id, text in given.items():
            if not isinstance(key_id, str) or not KEY_ID.fullmatch(key_id):
                rule = "Letters, digits, - and _; at most 40."
                self.say("E013", 'OAUTHBFF["KEYS"] has a key whose id is not an id.', rule)
                continue
            key = _decode_key(text)
            if key is None or len(key) != KEY_BYTES:
                self.say("E013", f'OAUTHBFF["KEYS"]["{key_id}"] is not 32 bytes in base64.', hint)
            elif len(set(key)) < 8 or key in keys.values():
                self.say("E013", f'OAUTHBFF["KEYS"]["{key_id}"] is repeated or not random.', hint)
            elif _comes_from_secret_key(key):
                rule = "SECRET_KEY signs; it must not also encrypt. " + hint
                self.say("E013", f'OAUTHBFF["KEYS"]["{key_id}"] is made from SECRET_KEY.', rule)
            else:
                keys[key_id] = key
        return keys

    # --- upstreams ---

    def upstreams(self) -> Mapping[str, Upstream]:
        given = self.given.get("UPSTREAMS", {})
        if not isinstance(given, Mapping):
            self.say("E014", 'OAUTHBFF["UPSTREAMS"] is not a dictionary.', 'name → {"url": …}')
            return {}
        return {
            name: found
            for name, options in given.items()
            if (found := self.upstream(name, options)) is not None
        }

    def upstream(self, name: Any, options: Any) -> Upstream | None:
        where = f'OAUTHBFF["UPSTREAMS"]["{name}"]'
        before = len(self.problems)
        if not isinstance(name, str) or not ROUTE_NAME.fullmatch(name):
            self.say("E015", f"{where}: not a route name.", "Lower case letters, digits, - and _.")
            return None
        if not isinstance(options, Mapping):
            self.say("E015", f"{where} is not a dictionary.", 'At least {"url": "https://…/"}.')
            return None
        names = [f.name for f in fields(Upstream) if f.name != "name"]
        self.unknown(options, names, where + '["%s"]')
        values: dict[str, Any] = {key: options[key] for key in names if key in options}
        values["url"] = self.upstream_url(where, options)
        for key in ("methods", "permissions", "throttles", "headers", "response_headers", "embed"):
            if key in values:
                values[key] = self.sequence(f'{where}["{key}"]', values[key])
        for key in ("cache", "allow_insecure_http"):
            if not isinstance(values.get(key, False), bool):
                self.say("E002", f'{where}["{key}"] must be True or False.', f"{values[key]!r}")
        if "methods" in values:
            values["methods"] = tuple(method.upper() for method in values["methods"])
            for method in sorted(set(values["methods"]) - set(METHODS)):
                hint = f"Possible: {', '.join(METHODS)}."
                self.say("E016", f"{where}: method {method!r} cannot be forwarded.", hint)
        if values.get("token", "user") not in TOKEN_MODES:
            hint = f"One of {', '.join(TOKEN_MODES)}."
            self.say("E017", f'{where}["token"] is {values["token"]!r}.', hint)
        if "paths" in values:
            values["paths"] = self.patterns(f'{where}["paths"]', values["paths"])
        if "timeouts" in values:
            values["timeouts"] = self.timeouts(f'{where}["timeouts"]', values["timeouts"])
        max_body = values.get("max_body", 0)
        if isinstance(max_body, bool) or not isinstance(max_body, int) or max_body < 0:
            self.say(
                "E018", f'{where}["max_body"] is not a number of bytes.', f"It is {max_body!r}."
            )
        self.resource(where, values.get("resource"))
        for key in ("headers", "response_headers"):
            for header in values.get(key, ()):
                odd = not HEADER_NAME.fullmatch(header) or "_" in header
                if odd or header.lower() in NEVER_PASS:
                    hint = "It carries credentials, framing or our own rules."
                    self.say("E019", f'{where}["{key}"]: {header!r} can never pass.', hint)
        return Upstream(name=name, **values) if len(self.problems) == before else None

    def upstream_url(self, where: str, options: Mapping[str, Any]) -> str:
        url = options.get("url")
        parts = _split(url) if isinstance(url, str) else None
        if parts is None or parts.scheme not in ("https", "http") or not parts.hostname:
            self.say("E020", f'{where}["url"] is not an absolute https URL.', f"It is {url!r}.")
            return ""
        if parts.username is not None or parts.query or parts.fragment or "\\" in str(url):
            self.say("E020", f'{where}["url"] has a user, query or fragment.', "Remove it.")
        if AMBIGUOUS_PATH.search(parts.path):
            self.say("E020", f'{where}["url"] has an ambiguous path.', f"It is {parts.path!r}.")
        insecure = options.get("allow_insecure_http") is True
        if parts.scheme == "http" and not (is_loopback(parts.hostname) or insecure):
            hint = 'Use https, or say "allow_insecure_http": True if that network is yours alone.'
            self.say("E021", f'{where}["url"] sends tokens over http.', hint)
        ourselves = _split(str(self.given.get("BASE_URL", "")).rstrip("/"))
        if ourselves is not None and _origin(parts) == _origin(ourselves):
            self.say("E022", f'{where}["url"] is this site itself.', "It would call itself.")
        path = parts.path if parts.path.endswith("/") else parts.path + "/"
        return f"{parts.scheme}://{parts.netloc}{path}"

    def patterns(self, where: str, value: Any) -> tuple[re.Pattern[str], ...]:
        compiled = []
        for pattern in self.sequence(where, value):
            if not (pattern.startswith("^") and pattern.endswith("$")):
                hint = 'Write "^…$": the pattern must say where the path begins and ends.'
                self.say("E023", f"{where}: {pattern!r} is not anchored.", hint)
                continue
            try:
                compiled.append(re.compile(pattern))
            except re.error as exc:
                self.say("E023", f"{where}: {pattern!r} is no regular expression.", str(exc))
        return tuple(compiled)

    def timeouts(self, where: str, value: Any) -> Timeouts:
        names = [f.name for f in fields(Timeouts)]
        if not isinstance(value, Mapping):
            self.say("E024", f"{where} is not a dictionary.", f"Keys: {', '.join(names)}.")
            return Timeouts()
        self.unknown(value, names, where + '["%s"]')
        good: dict[str, float] = {}
        for name in sorted(set(names) & set(value)):
            seconds = value[name]
            number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
            if not number or not 0 < seconds < 86400:
                self.say("E024", f'{where}["{name}"] is not a time in seconds.', f"{seconds!r}")
            else:
                good[name] = float(seconds)
        return Timeouts(**good)

    def resource(self, where: str, value: Any) -> None:
        if value is None:
            return
        parts = _split(value) if isinstance(value, str) else None
        if parts is None or not parts.scheme or parts.fragment:
            hint = "An absolute URI without a fragment. RFC 8707 §2."
            self.say("E025", f'{where}["resource"] is {value!r}.', hint)


#: Headers that no setting can let through, in either direction.
NEVER_PASS = frozenset(
    """
    cookie cookie2 set-cookie set-cookie2 authorization proxy-authorization
    proxy-authenticate www-authenticate dpop dpop-nonce host connection keep-alive
    proxy-connection te trailer transfer-encoding upgrade http2-settings content-length
    expect via forwarded x-forwarded-for x-forwarded-host x-forwarded-proto
    x-forwarded-port x-forwarded-prefix x-forwarded-uri x-real-ip x-csrftoken origin
    clear-site-data strict-transport-security access-control-allow-origin
    access-control-allow-credentials access-control-allow-methods
    access-control-allow-headers access-control-expose-headers access-control-max-age
    x-accel-redirect x-accel-buffering x-accel-charset x-accel-expires x-accel-limit-rate
    x-sendfile content-security-policy x-bff-error service-worker-allowed refresh
    """.split()
)

_FROM_OIDC = {
    "issuer",
    "client_id",
    "client_secret",
    "scopes",
    "sign_algorithm",
    "provider_timeout",
    "client_auth",
    "client_key",
}
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
    "revocation_days": int,
    "retention_days": int,
}


def _split(value: str) -> SplitResult | None:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return None
    return None if re.search(r"[\x00-\x20\x7f]", value) else parts


def _origin(parts: SplitResult) -> str:
    """Scheme, host and port as a browser writes them: no default port. RFC 6454 §6.2."""
    host = parts.netloc.rpartition("@")[2].lower()
    default = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    return f"{parts.scheme}://{host.removesuffix(default) if default else host}"


def _decode_key(text: Any) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None


def _comes_from_secret_key(key: bytes) -> bool:
    secret = settings.SECRET_KEY.encode()
    return key in (hashlib.sha256(secret).digest(), secret[:KEY_BYTES], secret[-KEY_BYTES:])
