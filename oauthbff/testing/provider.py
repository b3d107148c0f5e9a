"""StrictProvider: an OpenID Provider in this process whose every behaviour is a switch.

Over real loopback HTTP. It knows families: a spent refresh token that is presented again is a
reuse, and the family dies. It remembers every token it ever issued, who presented it, whether the
answer was delivered and whether it is alive.

    with StrictProvider(CLIENT_ID, CLIENT_SECRET) as strict:
        strict.configure(rotation="grace", expires_in=ABSENT)
        strict.fail(status=500, body="<html>", after=True)   # rotates, then answers nonsense
        strict.fail(delay=3)                                 # hangs
        with strict.hold() as held:                          # one refresh waits at the provider
            ...
            held.wait()
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from joserfc import jwk, jwt

from .behaviour import ABSENT, LIFETIME, Fault, Hold, Presentation, Switches, Token
from .loopback import Call, Loopback


class StrictProvider(Loopback):
    def __init__(self, client_id: str, client_secret: str, *, port: int = 0) -> None:
        super().__init__(port)
        self.client_id, self.client_secret = client_id, client_secret
        self._key = jwk.RSAKey.generate_key(2048, {"kid": "ours", "use": "sig", "alg": "RS256"})
        self._stranger = jwk.RSAKey.generate_key(2048, {"kid": "ours"})
        self._lock = threading.RLock()
        self.issuer = self.url
        self._sub = "jane"
        self._claims: dict[str, Mapping[str, Any]] = {}  # by sub
        self.configure()

    def stop(self) -> None:
        self.mend()
        super().stop()

    # ------------------------------------------------------------------- for the tests

    def configure(self, **switches: Any) -> None:
        """Begin anew with these switches: no tokens, no faults, no memory."""
        with self._lock:
            self.switches = Switches(**switches)
            self.tokens: dict[str, Token] = {}
            self.presentations: list[Presentation] = []
            self.revocations: list[str] = []  # tokens that a request revoked
            self.exchanges = 0
            self._signed_in_at: dict[str, int] = {}  # by family: `auth_time` never changes
            self._codes: dict[str, dict[str, str]] = {}
            self._faults: list[Fault] = []
            self._hold: Hold | None = None

    def switch(self, **switches: Any) -> None:
        """Change switches and keep everything else."""
        with self._lock:
            self.switches = Switches(**{**vars(self.switches), **switches})

    def fail(self, *, times: int = 1, **fault: Any) -> None:
        """Let the next refreshes go wrong, see `Fault`."""
        with self._lock:
            self._faults += [Fault(**fault) for _ in range(times)]

    def mend(self) -> None:
        with self._lock:
            self._faults.clear()
            if self._hold:
                self._hold.release()
            self._hold = None

    @contextlib.contextmanager
    def hold(self, *, after: bool = True) -> Iterator[Hold]:
        """Let the next refresh wait: before the provider acts, or when only the answer is left."""
        hold = Hold(after)
        with self._lock:
            self._hold = hold
        try:
            yield hold
        finally:
            hold.release()
            with self._lock:
                if self._hold is hold:
                    self._hold = None

    def login_as(self, sub: str | None, **claims: Any) -> None:
        """Who whoever comes is, and what ID token and UserInfo say of them."""
        self._sub = sub or "jane"
        self._claims[self._sub] = claims

    def sign_in(self, sub: str = "jane", *, scope: str = "openid") -> dict[str, Any]:
        """Return a token response as a sign-in brings it, without the way through a browser."""
        family = secrets.token_hex(8)
        with self._lock:
            return self._issue(family, sub, scope, None, True, None)

    def sign_in_many(self, count: int) -> list[tuple[str, str]]:
        """Sign persons in by the thousand; return (sub, refresh token) of each. No ID tokens."""
        never, scope = time.time() + 86400, "openid"
        with self._lock:
            return [
                (sub, self._new("refresh", f"family-{sub}", sub, scope, None, never))
                for sub in (f"person-{number}" for number in range(count))
            ]

    def expire(self, family: str | None = None) -> None:
        """Let the access tokens run out, of one family or all."""
        with self._lock:
            for token in self.tokens.values():
                if token.kind == "access" and family in (None, token.family):
                    token.expires_at = 0

    def end_grace(self) -> None:
        """Refresh tokens that were replaced work no more."""
        with self._lock:
            for token in self.tokens.values():
                token.spent = token.spent or token.replaced

    def takes(self, token: str | None, resource: str | None = None) -> bool:
        """What an API asks: is this access token good for me?"""
        with self._lock:
            found = self.tokens.get(token or "")
            return (
                found is not None
                and found.kind == "access"
                and found.alive
                and found.resource == resource
            )

    def alive(self, kind: str | None = None, *, family: str | None = None) -> list[Token]:
        with self._lock:
            return [
                token
                for token in self.tokens.values()
                if token.alive and kind in (None, token.kind) and family in (None, token.family)
            ]

    def lost(self, refresh_token: str) -> None:
        """Whoever got the last answer to this token has died with it."""
        with self._lock:
            mine = [one for one in self.presentations if one.token == refresh_token and one.acted]
            mine[-1].delivered = False

    @property
    def refreshes(self) -> int:
        """How often a refresh token was presented, whatever the answer."""
        with self._lock:
            return len(self.presentations)

    @property
    def reuses(self) -> int:
        with self._lock:
            return sum(one.reuse for one in self.presentations)

    # ------------------------------------------------------------------------ its work

    def answer(self, call: Call) -> None:
        url = urllib.parse.urlsplit(call.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        form = dict(urllib.parse.parse_qsl(call.body().decode()))
        if url.path == "/token":
            if form.get("grant_type") == "refresh_token":
                return self._refreshing(call, form)
            return call.say(*self._exchange(call, form))
        pages: dict[str, Any] = {
            "/.well-known/openid-configuration": lambda: (200, self._metadata()),
            "/jwks": lambda: self._jwks(),
            "/userinfo": lambda: self._userinfo(call),
            "/revoke": lambda: self._revoke(call, form),
        }
        if url.path == "/authorize":
            return call.say(302, "", {"Location": self._authorize(query)})
        call.say(*pages.get(url.path, lambda: (404, {"error": "not_found"}))())

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "revocation_endpoint": f"{self.issuer}/revoke",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "authorization_response_iss_parameter_supported": True,
        }

    def _jwks(self) -> tuple[int, Any]:
        if "jwks" in self.switches.down:
            return 503, {"error": "down"}
        return 200, {"keys": [self._key.as_dict(private=False)]}

    def _authorize(self, query: Mapping[str, str]) -> str:
        assert query["response_type"] == "code", query
        assert query["client_id"] == self.client_id, query
        assert query["code_challenge_method"] == "S256", query
        code = secrets.token_urlsafe(16)
        with self._lock:
            self._codes[code] = {**query, "sub": self._sub}
        back = {"code": code, "state": query["state"], "iss": self.issuer}
        return f"{query['redirect_uri']}?{urllib.parse.urlencode(back)}"

    def _exchange(self, call: Call, form: Mapping[str, str]) -> tuple[int, Any]:
        if not self._knows(call):
            return 401, {"error": "invalid_client"}
        if form.get("grant_type") != "authorization_code":
            return 400, {"error": "unsupported_grant_type"}
        with self._lock:
            self.exchanges += 1
            asked = self._codes.pop(form.get("code", ""), None)
            if asked is None or asked["redirect_uri"] != form.get("redirect_uri"):
                return 400, {"error": "invalid_grant"}
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
                return 400, {"error": "invalid_grant"}
            family = secrets.token_hex(8)
            nonce = asked.get("nonce")
            return 200, self._issue(family, asked["sub"], asked["scope"], None, True, nonce)

    def _refreshing(self, call: Call, form: Mapping[str, str]) -> None:
        with self._lock:
            seen = Presentation(form.get("refresh_token", ""), form)
            self.presentations.append(seen)
            down = "token" in self.switches.down
            fault = self._faults.pop(0) if self._faults and not down else Fault()
            hold, self._hold = self._hold, None
        if down:
            return call.say(503, {"error": "down"})
        if hold and not hold.after:
            hold.stop_here()
        if not fault.after:
            self.stopping.wait(fault.delay)
            if fault.delay and call.client_gone():
                return  # it noticed that nobody waits any more
        if not fault.after and (fault.status or fault.drop or fault.half):
            return self._fail(call, fault, fault.status or 200, fault.body or {})
        status, body = self._refresh(call, form, seen)
        if hold and hold.after:
            hold.stop_here()
        if fault.patch:
            body = _patched(body, fault.patch)
        if fault.after:
            self.stopping.wait(fault.delay)
            given = body if fault.body is None else fault.body
            return self._fail(call, fault, fault.status or status, given)
        with self._lock:
            seen.delivered = not call.client_gone()
        call.say(status, body)

    def _fail(self, call: Call, fault: Fault, status: int, body: Any) -> None:
        if not fault.drop:
            call.say(status, body, fault.headers, half=fault.half)

    def _refresh(self, call: Call, form: Mapping[str, str], seen: Presentation) -> tuple[int, Any]:
        with self._lock:
            seen.acted = True
            status, body = self._judged(call, form, seen)
            seen.error = body.get("error")
            seen.gave = tuple(body[k] for k in ("access_token", "refresh_token") if k in body)
            return status, body

    def _judged(
        self, call: Call, form: Mapping[str, str], seen: Presentation
    ) -> tuple[int, dict[str, Any]]:
        if not self._knows(call):
            return 401, {"error": "invalid_client"}
        token = self.tokens.get(seen.token)
        if token is None or token.kind != "refresh" or token.revoked:
            seen.reuse = token is not None and token.spent
            return 400, {"error": "invalid_grant"}
        if token.spent:
            seen.reuse = True
            self._revoke_family(token.family, "reuse")
            return 400, {"error": "invalid_grant"}
        resource, allowed = form.get("resource"), self.switches.resources
        if resource is not None and allowed is not None and resource not in allowed:
            return 400, {"error": "invalid_target"}
        scope = self.switches.refreshed_scope or token.scope
        if self.switches.rotation == "always":
            token.spent = True
        token.replaced = self.switches.rotation == "grace"
        body = self._issue(token.family, token.sub, scope, resource, False, None)
        if self.switches.rotation == "echo":
            body["refresh_token"] = token.value
        return 200, body

    def _issue(
        self,
        family: str,
        sub: str,
        scope: str,
        resource: str | None,
        first: bool,
        nonce: str | None,
    ) -> dict[str, Any]:
        switches = self.switches
        body: dict[str, Any] = {"token_type": "Bearer", "scope": scope}
        lasts = switches.expires_in
        exact = isinstance(lasts, int) and not isinstance(lasts, bool) and lasts > 0
        end = time.time() + (lasts if exact else LIFETIME)
        body["access_token"] = self._new("access", family, sub, scope, resource, end)
        if lasts is not ABSENT:
            body["expires_in"] = lasts
        if switches.refresh_tokens and (first or switches.rotation in ("always", "grace")):
            never = time.time() + 86400
            body["refresh_token"] = self._new("refresh", family, sub, scope, None, never)
        if first or switches.id_token:
            now = int(time.time())
            claims = {
                "iss": self.issuer,
                "sub": sub,
                "aud": self.client_id,
                "iat": now,
                "exp": now + 300,
                "auth_time": self._signed_in_at.setdefault(family, now),
                "sid": family,
                "nonce": nonce if first and nonce else ABSENT,
                **self._claims.get(sub, {}),
            }
            claims = _patched(claims, {} if first else switches.id_claims)
            claims = {name: value for name, value in claims.items() if value is not ABSENT}
            body["id_token"] = self.sign(claims, "us" if first else switches.signed_by)
        return body

    def sign(self, claims: Mapping[str, Any], signed_by: str = "us") -> str:
        if signed_by == "none":
            parts = (json.dumps({"alg": "none"}), json.dumps(claims), "")
            return ".".join(
                base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts
            )
        kid = "nobody-knows" if signed_by == "unknown" else "ours"
        key = self._key if signed_by == "us" else self._stranger
        return jwt.encode({"alg": "RS256", "kid": kid}, dict(claims), key)

    def _new(
        self, kind: str, family: str, sub: str, scope: str, resource: str | None, end: float
    ) -> str:
        value = f"{kind[0]}t-{secrets.token_urlsafe(24)}"
        self.tokens[value] = Token(value, kind, family, sub, scope, resource, end)
        return value

    def _userinfo(self, call: Call) -> tuple[int, Any]:
        scheme, _, value = (call.headers.get("Authorization") or "").partition(" ")
        with self._lock:
            token = self.tokens.get(value)
            if scheme != "Bearer" or token is None or not token.alive:
                return 401, {"error": "invalid_token"}
            claims = self._claims.get(token.sub, {})
            return 200, {"name": token.sub.title(), **claims, "sub": token.sub}

    def _revoke(self, call: Call, form: Mapping[str, str]) -> tuple[int, Any]:
        with self._lock:
            if "revocation" in self.switches.down:
                return 503, {"error": "down"}
            if not self._knows(call):
                return 401, {"error": "invalid_client"}
            self.revocations.append(form.get("token", ""))
            token = self.tokens.get(form.get("token", ""))
            if token is not None:
                token.revoked = True
                token.revoked_by.append("request")
                if token.kind == "refresh" and self.switches.revocation == "family":
                    self._revoke_family(token.family, "family")
            return 200, {}

    def _revoke_family(self, family: str, why: str) -> None:
        for token in self.tokens.values():
            if token.family == family and not token.revoked:
                token.revoked = True
                token.revoked_by.append(why)

    def _knows(self, call: Call) -> bool:
        quoted = (urllib.parse.quote_plus(each) for each in (self.client_id, self.client_secret))
        good = "Basic " + base64.b64encode(":".join(quoted).encode()).decode()
        return call.headers.get("Authorization") == good


def _patched(body: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in {**body, **patch}.items() if v is not ABSENT}
