"""Judging what the provider says: token responses and ID tokens. Pure.

No I/O, no settings, no clock: keys, expectations and the time are passed in.
Every refusal is one `TokenRejected` with a stable reason. The header of a token
never chooses how it is verified. OIDC Core 1.0 §3.1.3.7; RFC 8725.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwk, jws
from joserfc.errors import BadSignatureError, JoseError

from .errors import ProviderNonsense, TokenRejected

LEEWAY_SECONDS = 60
#: An ID token for a sign-in that happens now was not issued longer ago than this.
OLDEST_IAT_SECONDS = 3600
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_TYPES = ("jwt", "logout+jwt")
MAX_TOKEN_BYTES = 256 * 1024
MAX_KEYS_TRIED = 10
TEN_YEARS_SECONDS = 10 * 365 * 86400
MIN_RSA_BITS = 2048

_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}


@dataclass(frozen=True, kw_only=True)
class TokenResponse:
    """What a token endpoint gave us, once judged. RFC 6749 §5.1."""

    access_token: str = field(repr=False)
    #: Seconds, or None when the provider does not say (or says something absurd).
    expires_in: int | None
    refresh_token: str | None = field(repr=False, default=None)
    id_token: str | None = field(repr=False, default=None)
    #: None when the answer names no scope: then it is what was asked for.
    scopes: tuple[str, ...] | None = None


def judge_token_response(body: Any) -> TokenResponse:
    """Return the response as a value. Raises `ProviderNonsense` if it breaks RFC 6749 §5.1."""
    if not isinstance(body, Mapping):
        raise ProviderNonsense("the token response is not a JSON object")
    access_token = body.get("access_token")
    token_type = body.get("token_type")
    if not isinstance(access_token, str) or not access_token:
        raise ProviderNonsense("the token response has no access_token")
    if any(not 0x21 <= ord(char) <= 0x7E for char in access_token):
        raise ProviderNonsense("the access token cannot be sent in a header")
    if not isinstance(token_type, str) or token_type.lower() != "bearer":
        raise ProviderNonsense("the token_type is not Bearer")
    return TokenResponse(
        access_token=access_token,
        expires_in=_lifetime(body.get("expires_in")),
        refresh_token=_optional(body, "refresh_token"),
        id_token=_optional(body, "id_token"),
        scopes=_scopes(body.get("scope")),
    )


def judge_id_token(
    token: str,
    *,
    keys: Sequence[Mapping[str, Any]],
    algorithm: str,
    issuer: str,
    client_id: str,
    now: float,
    nonce: str,
    access_token: str | None = None,
    max_age: int | None = None,
) -> dict[str, Any]:
    """Return the claims of an ID token that was made for this very sign-in.

    `keys` are JWKs as dictionaries; `now` is Unix time. Raises `TokenRejected`;
    the reason `unknown_key` means that fresh keys may help. OIDC Core §3.1.3.7.
    """
    claims = _judge_basics(
        token, keys=keys, algorithm=algorithm, issuer=issuer, client_id=client_id, now=now
    )
    if not isinstance(claims.get("nonce"), str):
        raise TokenRejected("nonce_missing")
    if not _equal(claims["nonce"], nonce):
        raise TokenRejected("nonce_wrong")
    if access_token is not None and "at_hash" in claims:
        _judge_at_hash(claims["at_hash"], access_token, algorithm)
    if max_age is not None:
        auth_time: Any = claims.get("auth_time")
        if not _is_time(auth_time):
            raise TokenRejected("auth_time_missing", "max_age was asked for")
        if auth_time + max_age + LEEWAY_SECONDS < now:
            raise TokenRejected("auth_time_too_old")
    return claims


def judge_refreshed_id_token(
    token: str,
    *,
    keys: Sequence[Mapping[str, Any]],
    algorithm: str,
    issuer: str,
    client_id: str,
    now: float,
    subject: str,
    first: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the claims of an ID token from a refresh: the same person and sign-in, or rejected.

    `first` has the `nonce` and `auth_time` of the sign-in, as far as there were any.
    Raises `TokenRejected`. OIDC Core §12.2.
    """
    claims = _judge_basics(
        token, keys=keys, algorithm=algorithm, issuer=issuer, client_id=client_id, now=now
    )
    if claims["sub"] != subject:
        raise TokenRejected("sub_changed")
    for name in ("nonce", "auth_time"):
        if name in claims and first.get(name) is not None and claims[name] != first[name]:
            raise TokenRejected(f"{name}_changed", "it is of another sign-in")
    return claims


def judge_logout_token(
    token: str,
    *,
    keys: Sequence[Mapping[str, Any]],
    algorithm: str,
    issuer: str,
    client_id: str,
    now: float,
) -> dict[str, Any]:
    """Return the claims of a logout token: `iat`, `jti`, and `sub`, `sid` or both.

    Raises `TokenRejected`. OIDC Back-Channel Logout 1.0 §2.6.
    """
    header, claims = judge_signature(token, keys=keys, algorithm=algorithm)
    typ = header.get("typ")
    if typ is not None and str(typ).lower().removeprefix("application/") not in LOGOUT_TYPES:
        raise TokenRejected("typ_wrong", "this token was made for something else")
    if claims.get("iss") != issuer:
        raise TokenRejected("iss_wrong")
    _judge_audience(claims, client_id)
    _judge_times(claims, now)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise TokenRejected("event_missing")
    if "nonce" in claims:
        raise TokenRejected("nonce_present", "this is an ID token, or made to look like one")
    for name in ("sub", "sid"):
        if name in claims and not _is_name(claims[name]):
            raise TokenRejected(f"{name}_malformed")
    if "sub" not in claims and "sid" not in claims:
        raise TokenRejected("sub_and_sid_missing")
    if not is_text(claims.get("jti")) or not claims["jti"]:
        raise TokenRejected("jti_missing")
    return claims


def judge_userinfo(claims: Any, subject: str) -> dict[str, Any]:
    """Return UserInfo claims that are of `subject`. OIDC Core §5.3.2."""
    if not isinstance(claims, Mapping):
        raise TokenRejected("userinfo_malformed")
    if claims.get("sub") != subject:
        raise TokenRejected("userinfo_sub_wrong")
    return dict(claims)


def judge_signature(
    token: str, *, keys: Sequence[Mapping[str, Any]], algorithm: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (header, claims) of a compact JWS whose signature is good under `algorithm`.

    Raises `TokenRejected`: `unknown_key` when no key fits, `bad_signature` when
    the named one does not verify.
    """
    if not isinstance(token, str) or len(token) > MAX_TOKEN_BYTES or token.count(".") != 2:
        raise TokenRejected("malformed")
    try:
        header = _strict_json(_base64url(token.split(".")[0]))
    except ValueError:
        raise TokenRejected("malformed") from None
    if not same_algorithm(header.get("alg"), algorithm):
        raise TokenRejected("alg_wrong", f"{str(header.get('alg'))[:20]!r}, not {algorithm}")
    if "crit" in header or "b64" in header:
        raise TokenRejected("crit_unsupported")
    kid = header.get("kid")
    candidates = [key for key in keys if fits(key, algorithm, kid)][:MAX_KEYS_TRIED]
    if not candidates:
        raise TokenRejected("unknown_key", "no key of the provider fits")
    registry = jws.JWSRegistry(algorithms=[str(header["alg"])], strict_check_header=False)
    registry.max_header_length = registry.max_payload_length = MAX_TOKEN_BYTES
    registry.max_signature_length = MAX_TOKEN_BYTES
    for candidate in candidates:
        try:
            key = jwk.import_key(_public_part(candidate))
            payload = jws.deserialize_compact(token, key, registry=registry).payload
        except BadSignatureError:
            continue
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        try:
            return header, _strict_json(payload)
        except ValueError:
            raise TokenRejected("malformed", "the payload is not a JSON object") from None
    raise TokenRejected("unknown_key" if kid is None else "bad_signature")


def _judge_basics(
    token: str,
    *,
    keys: Sequence[Mapping[str, Any]],
    algorithm: str,
    issuer: str,
    client_id: str,
    now: float,
) -> dict[str, Any]:
    header, claims = judge_signature(token, keys=keys, algorithm=algorithm)
    typ = header.get("typ")
    if typ is not None and str(typ).lower() not in ("jwt", "application/jwt"):
        raise TokenRejected("typ_wrong", "this token was made for something else")
    if "events" in claims:
        raise TokenRejected("not_an_id_token", "it carries events, as a logout token does")
    if claims.get("iss") != issuer:
        raise TokenRejected("iss_wrong")
    _judge_audience(claims, client_id)
    subject = claims.get("sub")
    if not _is_name(subject):
        raise TokenRejected("sub_missing")
    if "sid" in claims and not _is_name(claims["sid"]):
        raise TokenRejected("sid_malformed")
    _judge_times(claims, now)
    return claims


def _judge_audience(claims: Mapping[str, Any], client_id: str) -> None:
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or client_id not in audiences:
        raise TokenRejected("aud_wrong")
    if any(other != client_id for other in audiences):
        raise TokenRejected("aud_foreign", "the token is also for somebody we do not know")
    if "azp" in claims and claims["azp"] != client_id:
        raise TokenRejected("azp_wrong")


def _judge_times(claims: Mapping[str, Any], now: float) -> None:
    for name in ("exp", "iat"):
        if not _is_time(claims.get(name)):
            raise TokenRejected(f"{name}_missing")
    if claims["exp"] + LEEWAY_SECONDS <= now:
        raise TokenRejected("expired")
    if claims["iat"] > now + LEEWAY_SECONDS:
        raise TokenRejected("iat_in_future")
    if claims["iat"] < now - OLDEST_IAT_SECONDS:
        raise TokenRejected("iat_too_old")
    if "nbf" in claims and (not _is_time(claims["nbf"]) or claims["nbf"] > now + LEEWAY_SECONDS):
        raise TokenRejected("not_yet_valid")


def _judge_at_hash(at_hash: Any, access_token: str, algorithm: str) -> None:
    """OIDC Core §3.1.3.6: the left half of the access token's hash."""
    digest = _HASHES.get(algorithm[-3:], hashlib.sha512)(access_token.encode()).digest()
    expected = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
    if not isinstance(at_hash, str) or not _equal(at_hash, expected):
        raise TokenRejected("at_hash_wrong")


def fits(key: Mapping[str, Any], algorithm: str, kid: Any) -> bool:
    """Whether a JWK may have signed this: kid, use and algorithm agree. RFC 7517 §4."""
    if kid is not None and key.get("kid") != kid:
        return False
    if key.get("use", "sig") != "sig":
        return False
    key_ops = key.get("key_ops", ["verify"])
    if not isinstance(key_ops, list) or "verify" not in key_ops:
        return False
    if "alg" in key and not same_algorithm(key["alg"], algorithm):
        return False
    kind = key.get("kty")
    if algorithm[:2] in ("RS", "PS"):
        return kind == "RSA" and _rsa_bits(key) >= MIN_RSA_BITS
    if algorithm in _CURVES:
        return kind == "EC" and key.get("crv") == _CURVES[algorithm]
    return kind == "OKP" and key.get("crv") == "Ed25519"


def _public_part(key: Mapping[str, Any]) -> dict[str, Any]:
    """The members that verify. Use and algorithm are judged; a private part is not for us."""
    return {name: key[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in key}


def _rsa_bits(key: Mapping[str, Any]) -> int:
    try:
        return int.from_bytes(_base64url(str(key.get("n", "")))).bit_length()
    except ValueError:
        return 0


def same_algorithm(one: Any, other: str) -> bool:
    """`Ed25519` is the fully specified name of what was `EdDSA`. RFC 9864."""
    if not isinstance(one, str):
        return False
    return one == other or {one, other} == {"EdDSA", "Ed25519"}


def _lifetime(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:12])
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 1:
        return None
    return int(min(value, TEN_YEARS_SECONDS))


def _scopes(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, str):
        return None
    return tuple(name for name in dict.fromkeys(value.split()) if is_text(name))


def _optional(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) and value else None


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11


def _is_name(value: Any) -> bool:
    """Whether a value can be a `sub` or `sid`."""
    return is_text(value) and 0 < len(value) <= 255


def is_text(value: Any) -> bool:
    """Whether a claim is text that every database can keep."""
    if not isinstance(value, str) or "\0" in value:
        return False
    return value.encode("utf-8", "ignore").decode() == value


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(
        one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass")
    )


def _base64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def refuse_constant(name: str) -> Any:
    """NaN and Infinity are Python's, not JSON's; what we read we must be able to write."""
    raise ValueError(f"{name} is not JSON")


def read_json(raw: bytes) -> Any:
    """Parse JSON as strictly as it is written: a repeated member is an error, not a choice.

    Raises `ValueError`.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a member is repeated")
        return dict(pairs)

    try:
        return json.loads(raw, object_pairs_hook=once, parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _strict_json(raw: bytes) -> dict[str, Any]:
    value = read_json(raw)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
