"""MutatingProvider: OpenID Providers in this process whose every fault is a switch.

One loopback HTTP server, many issuers: `provider.issuer("name")` is an `Op` with keys, documents
and switches of its own. Its issuer has a path and a trailing slash and its key set is full of
decoys, as those of the OpenID Foundation's conformance suite. Written after the descriptions of
that suite; nothing of it is copied.

    with MutatingProvider() as provider:
        op = provider.issuer("basic")
        op.set(claims={"iss": plus("1")})          # the next ID tokens name another issuer
        op.set(claims={"sub": ABSENT}, kid=ABSENT)
        op.set(signature=xor)
        ...
        assert not op.named("userinfo")
        assert not op.live                         # every token that it gave out came back
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import secrets
import sys
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from joserfc import jwk, jws

from tests.support.ports import LOOPBACK

ABSENT: Any = object()
CLIENT_ID = "bff"
#: Everything that form-urlencoding before base64 is there for. RFC 6749 §2.3.1.
CLIENT_SECRET = "bff-secret:b %+é/=&" + "s" * 24
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
PREFIX = "/test/a/"

Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Key:
    """A key pair and how it stands in the key set."""

    pair: Any = field(repr=False)
    kid: str | None
    use: str | None = "sig"

    def public(self, **more: Any) -> dict[str, Any]:
        known = {"kid": self.kid, "use": self.use, **more}
        bare = {
            k: v for k, v in self.pair.as_dict(private=False).items() if k not in ("kid", "use")
        }
        return {**bare, **{name: value for name, value in known.items() if value is not None}}


@functools.cache
def pair(kind: str, number: int) -> Any:
    """The n-th key pair of a kind (`RSA`, `RSA-1024`, `P-256`, `secp256k1`, `Ed25519`)."""
    if kind.startswith("RSA"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joserfc minds small keys; so do we
            return jwk.RSAKey.generate_key(int(kind.partition("-")[2] or 2048))
    return (jwk.OKPKey if kind == "Ed25519" else jwk.ECKey).generate_key(kind)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that the provider got."""

    name: str  # the endpoint, "elsewhere" for an address that we only lure to
    method: str
    path: str
    params: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    at: float


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int = 200
    body: Any = ""  # bytes as they are, text as HTML, anything else as JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False


@dataclass(kw_only=True)
class Switches:
    """What the provider does wrong. The defaults do nothing wrong."""

    # the authorization response
    response: Changes = field(default_factory=dict)  # parameters
    twice: Changes = field(default_factory=dict)  # parameters that come once more
    pkce: bool = True  # False: a provider that never heard of PKCE
    # the ID token of a sign-in
    claims: Changes = field(default_factory=dict)
    header: Changes = field(default_factory=dict)
    payload: Callable[[bytes], bytes] = bytes  # the JSON text
    algorithm: str = "RS256"  # also "none", "NONE", "HS256" with `mac_key`
    kid: Any = None  # None: of the key that signs; ABSENT: none; else this one
    key: Key | None = None  # that signs; None: the right one
    mac_key: bytes = b""
    signature: Callable[[bytes], bytes] = bytes
    id_token: Callable[[Op, dict[str, Any]], Any] | None = None  # something else in its place
    rotate: bool = False  # new keys just before signing
    # the token endpoint
    answer: Changes = field(default_factory=dict)  # members of the answer
    token_reply: Reply | None = None  # instead of any answer
    expires_in: Any = 3600
    authentication: str = "client_secret_basic"
    # a refresh
    refreshed: Changes = field(default_factory=dict)  # claims of the refreshed ID token
    refreshed_signature: Callable[[bytes], bytes] = bytes
    refreshed_answer: Changes = field(default_factory=dict)
    # UserInfo
    userinfo: Changes = field(default_factory=dict)
    userinfo_reply: Reply | None = None
    userinfo_jwt: Changes | None = None  # not None: signed, and how that goes wrong: see `sign`
    # documents
    metadata: Changes = field(default_factory=dict)
    metadata_reply: Reply | None = None
    jwks: Callable[[Op], list[Any]] | None = None
    jwks_reply: Reply | None = None
    # logout
    logout_state: str = "same"  # or "other", "absent"
    tells: bool = False  # sends its back-channel logout during the end_session request


def plus(end: str) -> Callable[[Any], Any]:
    return lambda value: f"{value}{end}"


def xor(signature: bytes) -> bytes:
    return bytes(byte ^ 0x5A for byte in signature)


def changed(values: Changes, changes: Changes) -> dict[str, Any]:
    """Replace, remove (ABSENT) or work upon (a function) members."""
    result = dict(values)
    for name, change in changes.items():
        if change is ABSENT:
            result.pop(name, None)
        else:
            result[name] = change(result.get(name)) if callable(change) else change
    return result


class Op:
    """One issuer."""

    def __init__(self, provider: MutatingProvider, name: str, number: int) -> None:
        self._provider = provider
        self._number = number
        self.name = name
        self.base = f"{provider.url}{PREFIX}{name}/"
        self.issuer = self.base
        self.lock = threading.RLock()
        self.site = ""  # the origin of our client
        self.calls_ever: list[Call] = []
        #: The key set's address is new with each run: nobody can have guessed it.
        self._suffix = secrets.token_hex(8)
        self._generation = 0
        self._make_keys()
        self.reset()

    # ------------------------------------------------------------------- for the tests

    def reset(self) -> None:
        """Nothing wrong, no tokens, no calls. The keys stay: clients know them."""
        with self.lock:
            self.switches = Switches()
            self.calls: list[Call] = []
            self.live: dict[str, str] = {}  # token → its kind
            self.given: dict[str, str] = {}  # the same, never forgotten
            self.id_tokens: list[str] = []
            self.revoked: list[str] = []
            self.told: list[int] = []  # what our logout tokens were answered with
            self.subject = "jane"
            self.sid = f"sid-{secrets.token_hex(8)}"
            self._codes: dict[str, dict[str, Any]] = {}
            self._refresh: dict[str, dict[str, Any]] = {}
            self._access: dict[str, dict[str, Any]] = {}

    def set(self, **switches: Any) -> None:
        with self.lock:
            for name, value in switches.items():
                assert hasattr(self.switches, name), name
                setattr(self.switches, name, value)

    def login_as(self, sub: str | None) -> None:
        self.subject = sub or "jane"

    def named(self, *names: str) -> list[Call]:
        with self.lock:
            return [call for call in self.calls if call.name in names]

    def rotate(self) -> None:
        """New keys under new names; the old ones are gone."""
        with self.lock:
            self._generation += 1
            self._make_keys()

    def key(self, kind: str) -> Key:
        """The key that signs rightly: `RSA`, `P-256` or `Ed25519`; also `RSA-enc`."""
        return self._keys[kind]

    def stranger(self, kid: str | None = None) -> Key:
        """A key of somebody else, under a name of ours if need be."""
        return Key(pair("RSA", 90), kid)

    def key_set(self) -> list[dict[str, Any]]:
        """Two of each for signing without `alg`, curves that we do not speak, and `use: enc`."""
        return [key.public() for key in self._keys.values()]

    def claims(self, **claims: Any) -> dict[str, Any]:
        """What every token of this issuer says."""
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": self.subject,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            **claims,
        }

    def sign(
        self,
        claims: Changes,
        *,
        header: Changes | None = None,
        algorithm: str = "RS256",
        kid: Any = None,
        key: Key | None = None,
        mac_key: bytes = b"",
        signature: Callable[[bytes], bytes] = bytes,
        payload: Callable[[bytes], bytes] = bytes,
    ) -> str:
        """A compact JWS, as right or as wrong as told."""
        body = payload(json.dumps(dict(claims)).encode())
        kind = {"ES": "P-256", "Ed": "Ed25519"}.get(algorithm[:2], "RSA")
        signer = key or self._keys[kind]
        head: dict[str, Any] = {"alg": algorithm}
        if kid is not ABSENT and (kid or signer.kid):
            head["kid"] = kid or signer.kid
        head = changed(head, header or {})
        if algorithm.lower() == "none":
            return f"{_b64(json.dumps(head).encode())}.{_b64(body)}."
        # joserfc signs what we say, whatever it thinks of the header (crit, b64, jwk).
        signing = f"{_b64(json.dumps(head).encode())}.{_b64(body)}"
        if algorithm == "HS256":
            made = hmac.digest(mac_key, signing.encode(), "sha256")
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                registry = jws.JWSRegistry(algorithms=[algorithm])
                made = registry.get_alg(algorithm).sign(signing.encode(), signer.pair)
        return f"{signing}.{_b64(signature(made))}"

    def logout_token(self, changes: Changes | None = None, **how: Any) -> str:
        """A logout token for the person and session of now. `how` as for `sign`."""
        claims = self.claims(
            sid=self.sid,
            jti=secrets.token_hex(8),
            events={LOGOUT_EVENT: {}},
            ignored_claim="ignored",
        )
        return self.sign(changed(claims, changes or {}), **how)

    def logout(self, token: str) -> int:
        """Deliver a logout token as the suite does: with a parameter to be ignored."""
        form = {"logout_token": token, "ignored_parameter": "ignored"}
        request = urllib.request.Request(
            f"{self.site}/bff/backchannel-logout/",
            data=urllib.parse.urlencode(form).encode(),
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                status, kept = answer.status, answer.headers
        except urllib.error.HTTPError as error:
            with error:
                status, kept = error.code, error.headers
        assert "no-store" in (kept["Cache-Control"] or ""), "a logout answer must not be stored"
        return int(status)

    # ------------------------------------------------------------------------ documents

    def metadata(self) -> dict[str, Any]:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.base}authorize",
            "token_endpoint": f"{self.base}token",
            "userinfo_endpoint": f"{self.base}userinfo",
            "revocation_endpoint": f"{self.base}revoke",
            "end_session_endpoint": f"{self.base}end_session",
            "jwks_uri": f"{self.base}jwks/{self._suffix}",
            "response_types_supported": ["id_token", "code", "code id_token", "id_token token"],
            "subject_types_supported": ["public", "pairwise"],
            "id_token_signing_alg_values_supported": ["none", "HS256", "RS256", "PS256", "ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
        }
        return changed(document, self.switches.metadata)

    def _make_keys(self) -> None:
        first, tail = 4 * self._number + 20 * self._generation, secrets.token_hex(4)
        self._keys = {
            "RSA-decoy": Key(pair("RSA", first + 1), f"rsa-1-{tail}"),
            "P-256-decoy": Key(pair("P-256", first + 1), f"p256-1-{tail}"),
            "RSA": Key(pair("RSA", first), f"rsa-2-{tail}"),
            "P-256": Key(pair("P-256", first), f"p256-2-{tail}"),
            "secp256k1": Key(pair("secp256k1", first), f"k1-{tail}"),
            "Ed25519": Key(pair("Ed25519", first), f"okp-{tail}"),
            "RSA-enc": Key(pair("RSA", first + 2), f"rsa-enc-{tail}", "enc"),
            "P-256-enc": Key(pair("P-256", first + 2), f"p256-enc-{tail}", "enc"),
        }

    # -------------------------------------------------------------------------- its work

    def answer(self, name: str, call: Call) -> Reply:
        with self.lock:
            self.calls.append(call)
            self.calls_ever.append(call)
            work = getattr(self, f"_{name}", None)
        if work is None:
            return Reply(status=404, body={"error": "not_found"})
        return work(call)

    def _discovery(self, call: Call) -> Reply:
        return self.switches.metadata_reply or Reply(body=self.metadata())

    def _jwks(self, call: Call) -> Reply:
        if self.switches.jwks_reply:
            return self.switches.jwks_reply
        keys = self.switches.jwks(self) if self.switches.jwks else self.key_set()
        return Reply(body={"keys": keys})

    def _authorize(self, call: Call) -> Reply:
        asked = call.params
        good = (
            asked.get("response_type") == "code"
            and asked.get("client_id") == CLIENT_ID
            and asked.get("redirect_uri") == f"{self.site}/bff/callback/"
            and "openid" in asked.get("scope", "").split()
            and asked.get("code_challenge_method") == "S256"
        )
        if not good:
            return Reply(status=400, body="<h1>Not a request of our client</h1>")
        code = f"code-{secrets.token_urlsafe(24)}"
        with self.lock:
            self._codes[code] = {**asked, "sub": self.subject, "sid": self.sid}
        said = changed(
            {"code": code, "state": asked["state"], "iss": self.issuer}, self.switches.response
        )
        query = urllib.parse.urlencode([*said.items(), *self.switches.twice.items()])
        return Reply(status=302, headers={"Location": f"{asked['redirect_uri']}?{query}"})

    def _token(self, call: Call) -> Reply:
        if self.switches.token_reply is not None:
            return self.switches.token_reply
        if not self._is_our_client(call):
            return Reply(status=401, body={"error": "invalid_client"})
        if call.params.get("grant_type") == "refresh_token":
            return self._refreshing(call.params)
        return self._exchange(call.params)

    def _exchange(self, form: Mapping[str, str]) -> Reply:
        with self.lock:
            asked = self._codes.pop(form.get("code", ""), None)
        if asked is None or form.get("redirect_uri") != asked["redirect_uri"]:
            return Reply(status=400, body={"error": "invalid_grant"})
        challenge = _b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if self.switches.pkce and challenge != asked["code_challenge"]:
            return Reply(status=400, body={"error": "invalid_grant"})
        switches = self.switches
        if switches.rotate:
            self.rotate()
        answer = self._tokens(asked)
        claims = self.claims(
            sub=asked["sub"],
            sid=asked["sid"],
            nonce=asked["nonce"],
            auth_time=int(time.time()),
            at_hash=half_hash(answer["access_token"]),
        )
        claims = changed(claims, switches.claims)
        token: Any = self.sign(
            claims,
            header=switches.header,
            algorithm=switches.algorithm,
            kid=switches.kid,
            key=switches.key,
            mac_key=switches.mac_key,
            signature=switches.signature,
            payload=switches.payload,
        )
        if switches.id_token is not None:
            token = switches.id_token(self, claims)
        if token is not ABSENT:
            answer["id_token"] = token
            self.id_tokens.append(str(token))
        return Reply(body=self._issued(changed(answer, switches.answer)))

    def _refreshing(self, form: Mapping[str, str]) -> Reply:
        with self.lock:
            spent = form.get("refresh_token", "")
            asked = self._refresh.pop(spent, None)
            self.live.pop(spent, None)
        if asked is None:
            return Reply(status=400, body={"error": "invalid_grant"})
        answer = self._tokens(asked)
        claims = self.claims(sub=asked["sub"], sid=asked["sid"])
        answer["id_token"] = self.sign(
            changed(claims, self.switches.refreshed), signature=self.switches.refreshed_signature
        )
        self.id_tokens.append(answer["id_token"])
        return Reply(body=self._issued(changed(answer, self.switches.refreshed_answer)))

    def _tokens(self, asked: dict[str, Any]) -> dict[str, Any]:
        access, refresh = (f"{kind}-{secrets.token_urlsafe(24)}" for kind in ("at", "rt"))
        with self.lock:
            self._access[access] = self._refresh[refresh] = asked
        return {
            "access_token": access,
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": self.switches.expires_in,
        }

    def _issued(self, answer: dict[str, Any]) -> dict[str, Any]:
        """What leaves the house lives until it is given back."""
        for kind in ("access_token", "refresh_token"):
            if isinstance(answer.get(kind), str) and answer[kind]:
                self.live[answer[kind]] = self.given[answer[kind]] = kind
        return {name: value for name, value in answer.items() if value is not ABSENT}

    def _is_our_client(self, call: Call) -> bool:
        quoted = ":".join(urllib.parse.quote_plus(one) for one in (CLIENT_ID, CLIENT_SECRET))
        basic = "Basic " + base64.b64encode(quoted.encode()).decode()
        posted = (call.params.get("client_id"), call.params.get("client_secret"))
        if self.switches.authentication == "client_secret_post":
            return posted == (CLIENT_ID, CLIENT_SECRET) and "authorization" not in call.headers
        return call.headers.get("authorization") == basic and posted[1] is None

    def _userinfo(self, call: Call) -> Reply:
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        asked = self._access.get(token)
        if asked is None or "access_token" in call.params:
            return Reply(status=401, body={"error": "invalid_token"})
        switches = self.switches
        if switches.userinfo_reply is not None:
            return switches.userinfo_reply
        person = {"sub": asked["sub"], **_person(asked["sub"], asked["scope"].split())}
        if switches.userinfo_jwt is None:
            return Reply(body=changed(person, switches.userinfo))
        claims = changed({**person, "iss": self.issuer, "aud": CLIENT_ID}, switches.userinfo)
        signed = self.sign(claims, **switches.userinfo_jwt)
        return Reply(body=signed.encode(), headers={"Content-Type": "application/jwt"})

    def _revoke(self, call: Call) -> Reply:
        if not self._is_our_client(call):
            return Reply(status=401, body={"error": "invalid_client"})
        with self.lock:
            token = call.params.get("token", "")
            self.revoked.append(token)
            self.live.pop(token, None)
        return Reply(body={})

    def _end_session(self, call: Call) -> Reply:
        asked = call.params
        known = asked.get("id_token_hint") in self.id_tokens
        if not known or asked.get("post_logout_redirect_uri") != f"{self.site}/bff/logged-out/":
            return Reply(status=400, body="<h1>Not a request of our client</h1>")
        if self.switches.tells:
            self.told.append(self.logout(self.logout_token()))
        query = ""
        if "state" in asked and self.switches.logout_state != "absent":
            state = asked["state"] if self.switches.logout_state == "same" else "another-state"
            query = "?" + urllib.parse.urlencode({"state": state})
        return Reply(
            status=302, headers={"Location": f"{asked['post_logout_redirect_uri']}{query}"}
        )


class MutatingProvider:
    """The server that all issuers share."""

    def __init__(self) -> None:
        self._server = _Server((LOOPBACK, 0), _Handler)
        self._server.provider = self
        self.url = f"http://{LOOPBACK}:{self._server.server_address[1]}"
        self.crashes: list[str] = []
        self._ops: dict[str, Op] = {}
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="mutating"
        )

    def issuer(self, name: str, *, keys: int = 0) -> Op:
        """The issuer of that name. Those with other `keys` share no key with it."""
        if name not in self._ops:
            self._ops[name] = Op(self, name, keys)
        return self._ops[name]

    def answer(self, handler: _Handler) -> Reply:
        url = urllib.parse.urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        text = handler.rfile.read(length).decode() if length else url.query
        name, _, rest = url.path.removeprefix(PREFIX).partition("/")
        op = self._ops.get(name)
        if url.path.startswith("/.well-known/oauth-authorization-server") or op is None:
            return Reply(status=404, body={"error": "not_found"})
        rest = "discovery" if rest == ".well-known/openid-configuration" else rest
        if rest == f"jwks/{op._suffix}":
            rest = "jwks"
        names = "discovery jwks authorize token userinfo revoke end_session".split()
        call = Call(
            name=rest if rest in names else "elsewhere",
            method=handler.command,
            path=url.path,
            params=dict(urllib.parse.parse_qsl(text, keep_blank_values=True)),
            headers={key.lower(): value for key, value in handler.headers.items()},
            at=time.time(),
        )
        return op.answer(call.name, call)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # waits for the requests under way

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert not self.crashes, self.crashes


def half_hash(access_token: str) -> str:
    """The `at_hash` of RS256, ES256 and PS256."""
    return _b64(hashlib.sha256(access_token.encode()).digest()[:16])


def _person(sub: str, scopes: Sequence[str]) -> dict[str, Any]:
    """Claims by scope. OIDC Core 1.0 §5.4."""
    by_scope: dict[str, dict[str, Any]] = {
        "profile": {"name": sub.title(), "given_name": sub.title(), "family_name": "Doe"},
        "email": {"email": f"{sub}@example.com", "email_verified": True},
        "address": {"address": {"country": "Wonderland"}},
        "phone": {"phone_number": "+49 30 0000", "phone_number_verified": False},
    }
    found: dict[str, Any] = {}
    for scope in scopes:
        found.update(by_scope.get(scope, {}))
    return found


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class _Server(ThreadingHTTPServer):
    provider: MutatingProvider
    request_queue_size = 128
    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client may go when it has enough
            self.provider.crashes.append(traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10
    wbufsize = -1  # one write per answer

    def do_GET(self) -> None:
        reply = self.server.provider.answer(self)
        if reply.hang_up:
            return
        kind, data = "application/json", reply.body
        if isinstance(data, str):
            kind, data = "text/html", data.encode()
        elif not isinstance(data, bytes):
            data = json.dumps(data).encode()
        headers = {"Content-Type": kind, "Content-Length": str(len(data)), **reply.headers}
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""
