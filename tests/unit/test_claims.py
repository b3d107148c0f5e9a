"""Tokens by their rules. Each refusal has the good token beside it, which passes.

The tokens are signed here with `cryptography` alone, so that the library under test does not
vouch for itself. Ids are rows of shared/standards.md (B2, ID-5, TK-5 …).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from oauthbff import claims as claims_room
from oauthbff.claims import (
    LEEWAY_SECONDS,
    OLDEST_IAT_SECONDS,
    TEN_YEARS_SECONDS,
    judge_id_token,
    judge_logout_token,
    judge_refreshed_id_token,
    judge_signature,
    judge_token_response,
    judge_userinfo,
)
from oauthbff.errors import ProviderNonsense, TokenRejected

NOW = 1_790_000_000
ISSUER = "https://op.example.com/"
CLIENT = "client"
NONCE = "n-0S6_WzA2Mj"
ABSENT = object()
FAMILIES = ("RS256", "PS256", "ES256", "EdDSA")

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8))


@dataclass(frozen=True)
class Signer:
    """A private key that signs whatever it is asked to, as a bad provider would."""

    algorithm: str
    private: Private

    @classmethod
    def new(cls, algorithm: str, bits: int = 2048) -> Signer:
        if algorithm.startswith("ES"):
            return cls(algorithm, ec.generate_private_key(ec.SECP256R1()))
        if algorithm.startswith("Ed"):
            return cls(algorithm, ed25519.Ed25519PrivateKey.generate())
        return cls(algorithm, rsa.generate_private_key(public_exponent=65537, key_size=bits))

    def sign(self, text: bytes) -> bytes:
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.private.sign(text, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32) + s.to_bytes(32)
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(text)
        pad: Any = padding.PKCS1v15()
        if self.algorithm.startswith("PS"):
            pad = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
        return self.private.sign(text, pad, hashes.SHA256())

    def jwk(self, **more: Any) -> dict[str, Any]:
        """The public key; a value of None leaves the member out."""
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            point = self.private.public_key().public_numbers()
            key = {
                "kty": "EC",
                "crv": "P-256",
                "x": number(point.x, 32),
                "y": number(point.y, 32),
            }
        elif isinstance(self.private, ed25519.Ed25519PrivateKey):
            key = {"kty": "OKP", "crv": "Ed25519", "x": b64(_raw(self.private))}
        else:
            public = self.private.public_key().public_numbers()
            key = {"kty": "RSA", "n": number(public.n), "e": number(public.e)}
        members = {"use": "sig", "kid": "k", **more}
        return key | {name: value for name, value in members.items() if value is not None}

    def token(self, payload: Any = ABSENT, **header: Any) -> str:
        """A token; `payload` may be bytes. A header of None is left out."""
        if payload is ABSENT:
            payload = good()
        members = {"alg": self.algorithm, "kid": "k", **header}
        head = {name: value for name, value in members.items() if value is not None}
        return self.token_of(json.dumps(head).encode(), payload)

    def token_of(self, head: bytes, payload: Any = ABSENT) -> str:
        body = good() if payload is ABSENT else payload
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        text = f"{b64(head)}.{b64(body)}"
        return f"{text}.{b64(self.sign(text.encode()))}"


def _raw(key: ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


SIGNERS = {family: Signer.new(family) for family in FAMILIES}
STRANGERS = {family: Signer.new(family) for family in FAMILIES}
RS = SIGNERS["RS256"]


def good(**changes: Any) -> dict[str, Any]:
    """The claims of a good ID token, but for `changes`; ABSENT leaves a claim out."""
    claims = {
        "iss": ISSUER,
        "sub": "24400320",
        "aud": CLIENT,
        "exp": NOW + 300,
        "iat": NOW,
        "nonce": NONCE,
    }
    return {name: value for name, value in (claims | changes).items() if value is not ABSENT}


def judge(token: Any, algorithm: str = "RS256", **changes: Any) -> dict[str, Any]:
    expected: dict[str, Any] = {
        "keys": [SIGNERS[algorithm].jwk()] if algorithm in SIGNERS else [],
        "issuer": ISSUER,
        "client_id": CLIENT,
        "now": NOW,
        "nonce": NONCE,
    }
    return judge_id_token(token, algorithm=algorithm, **(expected | changes))


def why_not(token: Any, algorithm: str = "RS256", **changes: Any) -> str:
    with pytest.raises(TokenRejected) as refusal:
        judge(token, algorithm, **changes)
    return refusal.value.reason


# --- signatures, for each family --------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_good_token_passes(family: str) -> None:
    assert judge(SIGNERS[family].token(), family) == good()


def test_the_vector_of_rfc_7515_appendix_a3_verifies() -> None:
    token = (
        "eyJhbGciOiJFUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    key = {
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }

    _, claims = judge_signature(token, keys=[key], algorithm="ES256")

    assert claims["iss"] == "joe"


@pytest.mark.parametrize("written", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("registered", ["EdDSA", "Ed25519"])
def test_eddsa_and_its_new_name_are_one_algorithm(written: str, registered: str) -> None:
    signer = SIGNERS["EdDSA"]
    assert judge(signer.token(alg=written), registered, keys=[signer.jwk()]) == good()
    assert judge(signer.token(alg=written), registered, keys=[signer.jwk(alg=registered)]) == good()


def xored(token: str, mask: int = 0x5A) -> str:
    """The conformance suite's mutation: every byte of the signature, XOR 0x5A."""
    text, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    return f"{text}.{b64(bytes(byte ^ mask for byte in raw))}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mutated_signature_does_not_pass(family: str) -> None:
    """B10, B17."""
    token = SIGNERS[family].token()
    assert why_not(xored(token), family) == "bad_signature"
    assert xored(xored(token)) == token and judge(token, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_another_payload_under_the_same_signature_does_not_pass(family: str) -> None:
    head, _, signature = SIGNERS[family].token().split(".")
    body = b64(json.dumps(good(sub="root")).encode())
    assert why_not(f"{head}.{body}.{signature}", family) == "bad_signature"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_strangers_signature_under_our_kid_does_not_pass(family: str) -> None:
    assert why_not(STRANGERS[family].token(), family) == "bad_signature"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "NONE", "", " none", "none\x00"])
def test_an_unsigned_token_does_not_pass(family: str, alg: str) -> None:
    """B9, ID-4."""
    signer = SIGNERS[family]
    head, body, _ = signer.token(alg=alg).split(".")
    assert why_not(f"{head}.{body}.", family) == "alg_wrong"
    assert why_not(signer.token(alg=alg), family) == "alg_wrong"


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_signature_under_the_right_algorithm_does_not_pass(family: str) -> None:
    head, body, _ = SIGNERS[family].token().split(".")
    assert why_not(f"{head}.{body}.", family) == "bad_signature"


def _publicly_known(signer: Signer) -> list[bytes]:
    public = signer.private.public_key()
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    text = public.public_bytes(pem, spki)
    return [text, text.strip(), public.public_bytes(der, spki), json.dumps(signer.jwk()).encode()]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_the_public_key_is_no_hmac_secret(family: str, alg: str) -> None:
    """ID-4, B16."""
    head = b64(json.dumps({"alg": alg, "kid": "k"}).encode())
    text = f"{head}.{b64(json.dumps(good()).encode())}"
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[alg]
    for secret in _publicly_known(SIGNERS[family]):
        token = f"{text}.{b64(hmac.new(secret, text.encode(), digest).digest())}"
        assert why_not(token, family) == "alg_wrong"


@pytest.mark.parametrize("written", FAMILIES)
@pytest.mark.parametrize("registered", FAMILIES)
def test_the_header_does_not_choose_the_algorithm(written: str, registered: str) -> None:
    """ID-4: all keys are published, only the registered algorithm counts."""
    keys = [signer.jwk() for signer in SIGNERS.values()]
    token = SIGNERS[written].token()
    if written == registered:
        assert judge(token, registered, keys=keys) == good()
    else:
        assert why_not(token, registered, keys=keys) == "alg_wrong"


@pytest.mark.parametrize("alg", [None, 5, True, [], {}, ["RS256"], {"RS256": 1}, "rs256", "RS384"])
def test_an_algorithm_that_is_not_the_registered_word_is_refused(alg: Any) -> None:
    head = {"kid": "k"} if alg is None else {"alg": alg, "kid": "k"}
    assert why_not(RS.token_of(json.dumps(head).encode())) == "alg_wrong"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "member",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": True},
        {"b64": False},
    ],
    ids=str,
)
def test_crit_and_b64_are_refused(family: str, member: dict[str, Any]) -> None:
    """ID-4."""
    assert why_not(SIGNERS[family].token(**member), family) == "crit_unsupported"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_key_in_the_header_is_not_used(family: str) -> None:
    """ID-4: `jwk`, `jku`, `x5u`, `x5c` cannot bring a key; a good token may carry them."""
    stranger = STRANGERS[family]
    brought: dict[str, Any] = {
        "jwk": stranger.jwk(),
        "jku": "https://evil.example.com/jwks",
        "x5u": "https://evil.example.com/cert",
    }
    assert why_not(stranger.token(**brought), family) == "bad_signature"
    assert why_not(stranger.token(kid=None, **brought), family) == "unknown_key"
    assert judge(SIGNERS[family].token(**brought), family) == good()


# --- which key --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_kid_asks_for_fresh_keys(family: str) -> None:
    """ID-12, C5, C6: `unknown_key` is what makes the provider's edge fetch once more."""
    assert why_not(SIGNERS[family].token(kid="new"), family) == "unknown_key"
    assert why_not(SIGNERS[family].token(), family, keys=[]) == "unknown_key"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_token_without_kid_passes_with_the_only_key(family: str) -> None:
    """B6."""
    signer = SIGNERS[family]
    assert judge(signer.token(kid=None), family) == good()
    assert judge(signer.token(kid=None), family, keys=[signer.jwk(kid=None)]) == good()


def _decoys(**more: Any) -> list[dict[str, Any]]:
    """What the conformance suite strews among the keys."""
    keys = [signer.jwk(**more) for signer in STRANGERS.values()]
    x = number(1 << 255, 32)
    keys += [{"kty": "EC", "crv": "secp256k1", "x": x, "y": x, "use": "sig", **more}]
    keys += [{"kty": "OKP", "crv": crv, "x": x, **more} for crv in ("X25519", "Ed448")]
    return keys


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kid", ["k", None], ids=["ID-13 same kid", "B7 no kid"])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_the_right_key_is_found_among_many(family: str, kid: str | None, place: str) -> None:
    signer, decoys = SIGNERS[family], _decoys(**({"kid": kid} if kid else {}))
    middle = {"first": 0, "middle": len(decoys) // 2, "last": len(decoys)}[place]
    decoys = [{k: v for k, v in decoy.items() if kid or k != "kid"} for decoy in decoys]
    keys = [*decoys[:middle], signer.jwk(kid=kid), *decoys[middle:]]

    assert judge(signer.token(kid=kid), family, keys=keys) == good()
    reason = why_not(xored(signer.token(kid=kid)), family, keys=keys)
    assert reason == ("bad_signature" if kid else "unknown_key")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("member", "passes"),
    [
        pytest.param({"use": "enc"}, False, id="ID-15 use enc"),
        pytest.param({"use": None}, True, id="no use"),
        pytest.param({"use": "sig"}, True, id="use sig"),
        pytest.param({"key_ops": ["encrypt"]}, False, id="key_ops encrypt"),
        pytest.param({"key_ops": ["verify"]}, True, id="key_ops verify"),
        pytest.param({"key_ops": 5}, False, id="key_ops a number"),
        pytest.param({"key_ops": None, "use": None}, True, id="neither use nor key_ops"),
        pytest.param({"alg": "HS256"}, False, id="alg another"),
        pytest.param({"alg": []}, False, id="alg a list"),
        pytest.param({"kid": 5}, False, id="kid a number"),
        pytest.param({"kid": ["k"]}, False, id="kid a list"),
        pytest.param({"kid": "K"}, False, id="kid in another case"),
        pytest.param({"kty": "XYZ"}, False, id="ID-15 unknown kty"),
        pytest.param({"kty": []}, False, id="kty a list"),
        pytest.param({"x5t": "abc", "x-vendor": {"a": 1}}, True, id="further members"),
    ],
)
def test_a_key_counts_only_for_what_it_is_meant(
    family: str, member: dict[str, Any], passes: bool
) -> None:
    signer = SIGNERS[family]
    keys = [signer.jwk(**member)]
    if passes:
        assert judge(signer.token(), family, keys=keys) == good()
    else:
        assert why_not(signer.token(), family, keys=keys) == "unknown_key"


@pytest.mark.parametrize("family", ["RS256", "PS256"])
def test_an_rsa_key_of_1024_bits_is_not_used(family: str) -> None:
    """ID-15."""
    weak = Signer.new(family, bits=1024)
    assert why_not(weak.token(), family, keys=[weak.jwk()]) == "unknown_key"


@pytest.mark.parametrize("family", FAMILIES)
def test_broken_keys_beside_the_good_one_do_no_harm(family: str) -> None:
    """ID-15."""
    broken: list[dict[str, Any]] = [
        {},
        {"kid": "k"},
        {"kty": "RSA", "kid": "k", "n": "!!", "e": "AQAB"},
        {"kty": "RSA", "kid": "k", "n": RS.jwk()["n"]},
        {"kty": "RSA", "kid": "k", "n": RS.jwk()["n"], "e": 3},
        {"kty": "RSA", "kid": "k", "n": RS.jwk()["n"], "e": ""},
        {"kty": "EC", "crv": "P-256", "kid": "k", "x": number(1, 32), "y": number(1, 32)},
        {"kty": "EC", "crv": "P-256", "kid": "k"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AA"},
    ]
    signer = SIGNERS[family]
    assert judge(signer.token(), family, keys=[*broken, signer.jwk()]) == good()


@pytest.mark.parametrize("value", ["AQAB", "", "!!", 5], ids=repr)
@pytest.mark.parametrize("family", FAMILIES)
def test_private_members_of_a_published_key_are_ignored(family: str, value: Any) -> None:
    """ID-15."""
    signer = SIGNERS[family]
    assert judge(signer.token(), family, keys=[signer.jwk(d=value)]) == good()


# --- claims -----------------------------------------------------------------------------------

CLAIMS = [
    pytest.param({}, None, id="B1 nothing wrong"),
    pytest.param({"iss": ISSUER + "1"}, "iss_wrong", id="B2 iss"),
    pytest.param({"iss": ISSUER.rstrip("/")}, "iss_wrong", id="ID-1 iss without slash"),
    pytest.param({"iss": ISSUER.upper()}, "iss_wrong", id="ID-1 iss in another case"),
    pytest.param({"iss": ABSENT}, "iss_wrong", id="ID-1 no iss"),
    pytest.param({"iss": [ISSUER]}, "iss_wrong", id="ID-1 iss a list"),
    pytest.param({"sub": ABSENT}, "sub_missing", id="B3 no sub"),
    pytest.param({"sub": ""}, "sub_missing", id="ID-8 sub empty"),
    pytest.param({"sub": 24400320}, "sub_missing", id="ID-8 sub a number"),
    pytest.param({"sub": ["24400320"]}, "sub_missing", id="ID-8 sub a list"),
    pytest.param({"sub": None}, "sub_missing", id="ID-8 sub null"),
    pytest.param({"sub": "s" * 256}, "sub_missing", id="ID-8 sub of 256"),
    pytest.param({"sub": "\ud800"}, "sub_missing", id="ID-8 sub a lone surrogate"),
    pytest.param({"sub": "a\x00b"}, "sub_missing", id="ID-8 sub with NUL"),
    pytest.param({"sub": "s" * 255}, None, id="ID-8 sub of 255"),
    pytest.param({"sid": "s1"}, None, id="sid"),
    pytest.param({"sid": ""}, "sid_malformed", id="sid empty"),
    pytest.param({"sid": ["s1"]}, "sid_malformed", id="sid a list"),
    pytest.param({"sid": "s" * 256}, "sid_malformed", id="sid of 256"),
    pytest.param({"sid": "a\x00b"}, "sid_malformed", id="sid with NUL"),
    pytest.param({"aud": CLIENT + "1"}, "aud_wrong", id="B4 aud"),
    pytest.param({"aud": ABSENT}, "aud_wrong", id="B15 no aud"),
    pytest.param({"aud": []}, "aud_wrong", id="ID-2 aud empty"),
    pytest.param({"aud": {}}, "aud_wrong", id="ID-2 aud an object"),
    pytest.param({"aud": {CLIENT: 1}}, "aud_wrong", id="ID-2 aud an object with us"),
    pytest.param({"aud": 5}, "aud_wrong", id="ID-2 aud a number"),
    pytest.param({"aud": None}, "aud_wrong", id="ID-2 aud null"),
    pytest.param({"aud": f"x {CLIENT}"}, "aud_wrong", id="ID-2 aud a text that has us"),
    pytest.param({"aud": [[CLIENT]]}, "aud_wrong", id="ID-2 aud nested"),
    pytest.param({"aud": [CLIENT, CLIENT + "1"]}, "aud_foreign", id="ID-2 aud of two"),
    pytest.param({"aud": [CLIENT, {}]}, "aud_foreign", id="ID-2 aud of two, one an object"),
    pytest.param(
        {"aud": [CLIENT, "other"], "azp": CLIENT}, "aud_foreign", id="ID-3 aud of two with azp"
    ),
    pytest.param({"aud": [CLIENT]}, None, id="ID-2 aud of one"),
    pytest.param({"azp": CLIENT}, None, id="ID-3 azp"),
    pytest.param({"azp": "other"}, "azp_wrong", id="ID-3 azp other"),
    pytest.param({"azp": None}, "azp_wrong", id="ID-3 azp null"),
    pytest.param({"azp": [CLIENT]}, "azp_wrong", id="ID-3 azp a list"),
    pytest.param({"exp": ABSENT}, "exp_missing", id="ID-5 no exp"),
    pytest.param({"exp": NOW - 360}, "expired", id="ID-5 exp six minutes ago"),
    pytest.param({"exp": NOW - LEEWAY_SECONDS}, "expired", id="ID-5 exp at the leeway"),
    pytest.param({"exp": NOW - LEEWAY_SECONDS + 1}, None, id="ID-5 exp within the leeway"),
    pytest.param({"exp": str(NOW + 300)}, "exp_missing", id="ID-5 exp a string"),
    pytest.param({"exp": True}, "exp_missing", id="ID-5 exp true"),
    pytest.param({"exp": float("nan")}, "malformed", id="ID-5 exp NaN"),
    pytest.param({"exp": float("inf")}, "malformed", id="ID-5 exp Infinity"),
    pytest.param({"exp": 10**400}, "exp_missing", id="ID-5 exp of 400 digits"),
    pytest.param({"exp": -1}, "exp_missing", id="ID-5 exp negative"),
    pytest.param({"exp": NOW + 300.5}, None, id="ID-5 exp a fraction"),
    pytest.param({"iat": ABSENT}, "iat_missing", id="B5 no iat"),
    pytest.param({"iat": str(NOW)}, "iat_missing", id="ID-6 iat a string"),
    pytest.param({"iat": NOW + 3600}, "iat_in_future", id="ID-6 iat in an hour"),
    pytest.param({"iat": NOW + LEEWAY_SECONDS}, None, id="ID-6 iat within the leeway"),
    pytest.param({"iat": NOW - OLDEST_IAT_SECONDS - 1}, "iat_too_old", id="ID-6 iat long ago"),
    pytest.param({"iat": float(NOW)}, None, id="ID-6 iat a float"),
    pytest.param({"iat": 10**400}, "iat_missing", id="ID-6 iat of 400 digits"),
    pytest.param({"nbf": NOW}, None, id="nbf now"),
    pytest.param({"nbf": NOW + 3600}, "not_yet_valid", id="nbf in an hour"),
    pytest.param({"nbf": "soon"}, "not_yet_valid", id="nbf a string"),
    pytest.param({"nonce": NONCE + "1"}, "nonce_wrong", id="B12 nonce"),
    pytest.param({"nonce": ABSENT}, "nonce_missing", id="ID-7 no nonce"),
    pytest.param({"nonce": ""}, "nonce_wrong", id="ID-7 nonce empty"),
    pytest.param({"nonce": None}, "nonce_missing", id="ID-7 nonce null"),
    pytest.param({"nonce": [NONCE]}, "nonce_missing", id="ID-7 nonce a list"),
    pytest.param({"nonce": "é"}, "nonce_wrong", id="ID-7 nonce beyond ASCII"),
    pytest.param({"nonce": "\ud800"}, "nonce_wrong", id="ID-7 nonce a lone surrogate"),
    pytest.param(
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        "not_an_id_token",
        id="A.11 a logout token",
    ),
    pytest.param({"events": None}, "not_an_id_token", id="A.11 events null"),
    pytest.param({"email": "jane@example.com", "acr": "1"}, None, id="further claims"),
    pytest.param({"_claim_sources": {"x": {"endpoint": "http://[::1]"}}}, None, id="B23"),
]


@pytest.mark.parametrize(("changes", "reason"), CLAIMS)
def test_each_claim_is_judged(changes: dict[str, Any], reason: str | None) -> None:
    claims = good(**changes)
    token = RS.token(claims)
    if reason is None:
        assert judge(token) == claims
    else:
        assert why_not(token) == reason


@pytest.mark.parametrize("family", FAMILIES)
def test_the_claims_are_judged_whatever_the_family(family: str) -> None:
    assert why_not(SIGNERS[family].token(good(iss=ISSUER + "1")), family) == "iss_wrong"


@pytest.mark.parametrize(
    ("typ", "passes"),
    [
        (None, True),
        ("JWT", True),
        ("jwt", True),
        ("application/jwt", True),
        ("at+jwt", False),
        ("application/at+jwt", False),
        ("logout+jwt", False),
        ("dpop+jwt", False),
        ("client-authentication+jwt", False),
        ("", False),
    ],
)
def test_a_token_made_for_something_else_is_no_id_token(typ: Any, passes: bool) -> None:
    """ID-11, A.11: right key, right audience, wrong kind."""
    if passes:
        assert judge(RS.token(typ=typ)) == good()
    else:
        assert why_not(RS.token(typ=typ)) == "typ_wrong"


def test_a_typ_that_is_no_text_is_refused() -> None:
    for typ in (["JWT"], {"JWT": 1}, 5, True):
        assert why_not(RS.token(typ=typ))


def test_our_own_client_assertion_is_no_id_token() -> None:
    """A.11."""
    assertion = good(iss=CLIENT, sub=CLIENT, aud=ISSUER, jti="1", nonce=ABSENT)
    assert why_not(RS.token(assertion)) == "iss_wrong"


#: The example of OIDC Core 1.0 appendix A.3.
CORE_ACCESS_TOKEN = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
CORE_AT_HASH = "77QmUPtjPfzWtF2AnpK9RQ"


@pytest.mark.parametrize(
    ("at_hash", "reason"),
    [
        pytest.param(CORE_AT_HASH, None, id="ID-10 right"),
        pytest.param(ABSENT, None, id="B28 absent"),
        pytest.param(CORE_AT_HASH[:-1] + "A", "at_hash_wrong", id="B27 wrong"),
        pytest.param(CORE_AT_HASH + "==", "at_hash_wrong", id="ID-10 padded"),
        pytest.param("", "at_hash_wrong", id="ID-10 empty"),
        pytest.param(None, "at_hash_wrong", id="ID-10 null"),
        pytest.param(5, "at_hash_wrong", id="ID-10 a number"),
        pytest.param("é", "at_hash_wrong", id="ID-10 beyond ASCII"),
        pytest.param("\ud800", "at_hash_wrong", id="ID-10 a lone surrogate"),
    ],
)
def test_at_hash_binds_the_access_token(at_hash: Any, reason: str | None) -> None:
    token = RS.token(good(at_hash=at_hash))
    if reason is None:
        assert judge(token, access_token=CORE_ACCESS_TOKEN)
    else:
        assert why_not(token, access_token=CORE_ACCESS_TOKEN) == reason


@pytest.mark.parametrize("family", FAMILIES)
def test_at_hash_is_taken_with_the_hash_of_the_algorithm(family: str) -> None:
    digest = (hashlib.sha512 if family == "EdDSA" else hashlib.sha256)(b"at").digest()
    claims = good(at_hash=b64(digest[: len(digest) // 2]))
    assert judge(SIGNERS[family].token(claims), family, access_token="at") == claims
    assert why_not(SIGNERS[family].token(claims), family, access_token="a2") == "at_hash_wrong"


@pytest.mark.parametrize(
    ("auth_time", "reason"),
    [
        pytest.param(NOW - 30, None, id="ID-9 half a minute ago"),
        pytest.param(NOW - 60 - LEEWAY_SECONDS, None, id="ID-9 within the leeway"),
        pytest.param(NOW - 61 - LEEWAY_SECONDS, "auth_time_too_old", id="ID-9 beyond the leeway"),
        pytest.param(NOW - 3600, "auth_time_too_old", id="ID-9 an hour ago"),
        pytest.param(ABSENT, "auth_time_missing", id="ID-9 absent"),
        pytest.param(str(NOW), "auth_time_missing", id="ID-9 a string"),
        pytest.param(True, "auth_time_missing", id="ID-9 true"),
        pytest.param(10**400, "auth_time_missing", id="ID-9 of 400 digits"),
    ],
)
def test_max_age_asks_for_a_recent_auth_time(auth_time: Any, reason: str | None) -> None:
    token = RS.token(good(auth_time=auth_time))
    assert judge(token)["nonce"] == NONCE  # nobody asked
    if reason is None:
        assert judge(token, max_age=60)
    else:
        assert why_not(token, max_age=60) == reason


# --- form -------------------------------------------------------------------------------------


def test_a_repeated_member_is_an_error_in_header_and_payload() -> None:
    head = b'{"alg":"RS256","kid":"k"}'
    body = json.dumps(good()).encode()
    assert judge(RS.token_of(head, body)) == good()
    assert why_not(RS.token_of(b'{"alg":"RS256","kid":"k","kid":"k"}', body)) == "malformed"
    assert why_not(RS.token_of(b'{"alg":"none","alg":"RS256","kid":"k"}', body)) == "malformed"
    assert why_not(RS.token_of(head, body[:-1] + b',"sub":"root"}')) == "malformed"
    assert why_not(RS.token_of(head, body[:-1] + b',"a":{"b":1,"b":2}}')) == "malformed"
    assert why_not(RS.token_of(head, body[:-1] + b',"s\\u0075b":"root"}')) == "malformed"


@pytest.mark.parametrize(
    "payload",
    [
        b"[]",
        b"null",
        b'"text"',
        b"5",
        b"",
        b"{",
        b'{"a":1} x',
        b"\xff\xfe\xfd",
        b"{'a': 1}",
        b'{"a":NaN}',
    ],
)
def test_a_payload_that_is_no_json_object_is_refused(payload: bytes) -> None:
    assert why_not(RS.token(payload)) == "malformed"


@pytest.mark.parametrize("head", [b"[]", b"null", b'"RS256"', b"", b"{", b"\xff", b"5"])
def test_a_header_that_is_no_json_object_is_refused(head: bytes) -> None:
    assert why_not(RS.token_of(head)) == "malformed"


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deeply_nested_json_is_refused_and_does_not_crash(opening: bytes) -> None:
    deep = opening * 30_000
    assert why_not(RS.token_of(deep)) == "malformed"
    assert why_not(RS.token(deep)) == "malformed"


def test_a_token_of_300_kb_is_refused_before_it_is_read() -> None:
    assert why_not(RS.token(good(picture="x" * 300_000))) == "malformed"
    assert judge(RS.token(good(picture="x" * 100_000)))["sub"] == "24400320"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda token: "", id="empty"),
        pytest.param(lambda token: "..", id="two dots"),
        pytest.param(lambda token: token + ".", id="four parts"),
        pytest.param(lambda token: token.replace(".", "", 1), id="two parts"),
        pytest.param(lambda token: token.replace(".", "..", 1), id="an empty payload"),
        pytest.param(lambda token: " " + token, id="a space before"),
        pytest.param(lambda token: "é" + token, id="beyond ASCII"),
        pytest.param(lambda token: "\ud800" + token, id="a lone surrogate"),
        pytest.param(lambda token: token.encode(), id="bytes"),
        pytest.param(lambda token: None, id="None"),
        pytest.param(lambda token: {"token": token}, id="an object"),
        pytest.param(lambda token: f"{token}.x.y", id="five parts, encrypted"),
    ],
)
def test_what_is_no_compact_jws_is_refused(damage: Callable[[str], Any]) -> None:
    assert why_not(damage(RS.token())) == "malformed"


@given(st.text())
def test_no_text_makes_the_judge_fall_over(text: str) -> None:
    with pytest.raises(TokenRejected):
        judge(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@given(name=st.sampled_from([*good(), "azp", "nbf", "events", "at_hash", "auth_time"]), value=JSON)
def test_no_signed_claim_makes_the_judge_fall_over(name: str, value: Any) -> None:
    signer = SIGNERS["EdDSA"]
    try:
        judge(signer.token(good(**{name: value})), "EdDSA", access_token="at", max_age=60)
    except TokenRejected as refusal:
        assert refusal.reason


def test_a_refusal_does_not_print_the_token() -> None:
    token = xored(RS.token())
    with pytest.raises(TokenRejected) as refusal:
        judge(token)
    assert not any(part in str(refusal.value) for part in token.split("."))


# --- refreshed ID tokens ----------------------------------------------------------------------


def judge_refreshed(token: str, subject: str = "24400320") -> dict[str, Any]:
    return judge_refreshed_id_token(
        token,
        keys=[RS.jwk()],
        algorithm="RS256",
        issuer=ISSUER,
        client_id=CLIENT,
        now=NOW,
        subject=subject,
        first={},
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({}, None, id="ID-18 with the nonce"),
        pytest.param({"nonce": ABSENT}, None, id="ID-18 without nonce"),
        pytest.param({"iss": ISSUER + "1"}, "iss_wrong", id="R2 iss"),
        pytest.param({"sub": "244003201"}, "sub_changed", id="R3 sub"),
        pytest.param({"sub": ABSENT}, "sub_missing", id="ID-18 no sub"),
        pytest.param({"aud": "other"}, "aud_wrong", id="ID-18 aud"),
        pytest.param({"aud": [CLIENT, "other"]}, "aud_foreign", id="ID-18 aud of two"),
        pytest.param({"azp": "other"}, "azp_wrong", id="ID-18 azp"),
        pytest.param({"exp": NOW - 360}, "expired", id="ID-18 exp"),
        pytest.param({"iat": ABSENT}, "iat_missing", id="ID-18 no iat"),
        pytest.param({"events": {}}, "not_an_id_token", id="A.11 events"),
    ],
)
def test_a_refreshed_id_token_is_of_the_same_person(
    changes: dict[str, Any], reason: str | None
) -> None:
    claims = good(**changes)
    if reason is None:
        assert judge_refreshed(RS.token(claims)) == claims
    else:
        with pytest.raises(TokenRejected) as refusal:
            judge_refreshed(RS.token(claims))
        assert refusal.value.reason == reason


def test_a_refreshed_id_token_must_be_signed_as_well() -> None:
    with pytest.raises(TokenRejected, match="bad_signature"):
        judge_refreshed(xored(RS.token()))


# --- UserInfo ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        pytest.param({"sub": "24400320", "name": "Jane"}, None, id="ID-16 the same sub"),
        pytest.param({"sub": "24400320invalid"}, "userinfo_sub_wrong", id="B11 sub"),
        pytest.param({"name": "Jane"}, "userinfo_sub_wrong", id="ID-16 no sub"),
        pytest.param({"sub": 24400320}, "userinfo_sub_wrong", id="ID-16 sub a number"),
        pytest.param({"sub": ["24400320"]}, "userinfo_sub_wrong", id="ID-16 sub a list"),
        pytest.param({"sub": None}, "userinfo_sub_wrong", id="ID-16 sub null"),
        pytest.param([], "userinfo_malformed", id="ID-16 a list"),
        pytest.param("24400320", "userinfo_malformed", id="ID-16 a text"),
        pytest.param(None, "userinfo_malformed", id="ID-16 null"),
    ],
)
def test_userinfo_is_of_the_same_person(claims: Any, reason: str | None) -> None:
    if reason is None:
        assert judge_userinfo(claims, "24400320") == claims
    else:
        with pytest.raises(TokenRejected) as refusal:
            judge_userinfo(claims, "24400320")
        assert refusal.value.reason == reason


# --- token responses --------------------------------------------------------------------------


def answer(**changes: Any) -> dict[str, Any]:
    body = {"access_token": "at", "token_type": "Bearer", "expires_in": 3600}
    return {name: value for name, value in (body | changes).items() if value is not ABSENT}


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER", "bEARER"])
def test_the_token_type_is_read_in_any_case(kind: str) -> None:
    """TK-5."""
    assert judge_token_response(answer(token_type=kind)).access_token == "at"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(answer(token_type="mac"), id="TK-5 mac"),
        pytest.param(answer(token_type="DPoP"), id="TK-5 DPoP, which was not asked for"),
        pytest.param(answer(token_type="bearer "), id="TK-5 a space"),
        pytest.param(answer(token_type=""), id="TK-5 empty token_type"),
        pytest.param(answer(token_type=None), id="TK-5 null token_type"),
        pytest.param(answer(token_type=["Bearer"]), id="TK-5 token_type a list"),
        pytest.param(answer(token_type=ABSENT), id="TK-5 no token_type"),
        pytest.param(answer(access_token=ABSENT), id="TK-5 no access_token"),
        pytest.param(answer(access_token=""), id="TK-5 empty access_token"),
        pytest.param(answer(access_token=None), id="TK-5 null access_token"),
        pytest.param(answer(access_token=5), id="TK-5 access_token a number"),
        pytest.param(answer(access_token={"a": 1}), id="TK-5 access_token an object"),
        pytest.param([], id="TK-7 a list"),
        pytest.param(None, id="TK-7 null"),
        pytest.param("access_token=at", id="TK-7 a text"),
        pytest.param({}, id="TK-7 empty"),
        pytest.param({"error": "invalid_grant"}, id="TK-7 200 with error"),
    ],
)
def test_a_token_response_that_breaks_the_rules_is_nonsense(body: Any) -> None:
    with pytest.raises(ProviderNonsense):
        judge_token_response(body)


@pytest.mark.parametrize("char", ["\r\n", "\n", "\x00", "\t", " ", "\x7f", "é", "\u2028", "\ud800"])
def test_a_token_that_cannot_stand_in_a_header_is_nonsense(char: str) -> None:
    for token in (f"a{char}b", f"{char}ab", f"ab{char}"):
        with pytest.raises(ProviderNonsense):
            judge_token_response(answer(access_token=token))
    assert judge_token_response(answer(access_token="a-._~+/=b")).access_token == "a-._~+/=b"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param(3600, 3600, id="TK-5 a number"),
        pytest.param("3600", 3600, id="TK-5 a string"),
        pytest.param(3599.9, 3599, id="TK-5 a fraction"),
        pytest.param(1, 1, id="TK-5 one"),
        pytest.param(ABSENT, None, id="TK-5 absent"),
        pytest.param(None, None, id="TK-5 null"),
        pytest.param(0, None, id="TK-5 0"),
        pytest.param("0", None, id="TK-5 0 as a string"),
        pytest.param(-1, None, id="TK-5 -1"),
        pytest.param("-1", None, id="TK-5 -1 as a string"),
        pytest.param(True, None, id="TK-5 true"),
        pytest.param("soon", None, id="TK-5 a word"),
        pytest.param("٣", None, id="TK-5 a digit beyond ASCII"),
        pytest.param([3600], None, id="TK-5 a list"),
        pytest.param({}, None, id="TK-5 an object"),
        pytest.param(float("nan"), None, id="TK-5 NaN"),
        pytest.param(1e99, TEN_YEARS_SECONDS, id="TK-5 1e99"),
        pytest.param("9" * 5000, TEN_YEARS_SECONDS, id="TK-5 5000 digits in a string"),
        pytest.param(10**400, TEN_YEARS_SECONDS, id="TK-5 400 digits"),
    ],
)
def test_expires_in_is_seconds_or_unknown(value: Any, seconds: int | None) -> None:
    assert judge_token_response(answer(expires_in=value)).expires_in == seconds


def test_an_infinite_lifetime_does_not_crash() -> None:
    found = judge_token_response(answer(expires_in=float("inf"))).expires_in
    assert found in (None, TEN_YEARS_SECONDS)


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        pytest.param("openid photos.read", ("openid", "photos.read"), id="TK-6 given"),
        pytest.param("a  b a", ("a", "b"), id="TK-6 given twice"),
        pytest.param(ABSENT, None, id="TK-6 absent: as asked for"),
        pytest.param(None, None, id="TK-6 null"),
        pytest.param(["openid"], None, id="TK-6 a list"),
        pytest.param("a \0b c\ud800", ("a",), id="TK-6 what no database can keep"),
    ],
)
def test_the_granted_scopes_are_recorded(scope: Any, scopes: tuple[str, ...] | None) -> None:
    assert judge_token_response(answer(scope=scope)).scopes == scopes


@pytest.mark.parametrize("name", ["refresh_token", "id_token"])
def test_optional_tokens_are_texts_or_none(name: str) -> None:
    assert getattr(judge_token_response(answer(**{name: "rt"})), name) == "rt"
    for nothing in (ABSENT, None, "", 5, [], {"a": 1}):
        assert getattr(judge_token_response(answer(**{name: nothing})), name) is None


def test_the_repr_of_a_token_response_shows_no_token() -> None:
    tokens = judge_token_response(
        answer(access_token="SECRET-a", refresh_token="SECRET-r", id_token="SECRET-i")
    )
    assert "SECRET" not in repr(tokens)


def test_the_leeway_is_what_the_standards_allow() -> None:
    """ID-5: small, at most two minutes."""
    assert 0 < claims_room.LEEWAY_SECONDS <= 120


# --- logout tokens ----------------------------------------------------------------------------

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


def logout(**changes: Any) -> dict[str, Any]:
    """The claims of a good logout token, but for `changes`."""
    token = {"jti": "j1", "sid": "s1", "events": {LOGOUT_EVENT: {}}, "nonce": ABSENT}
    return good(**(token | changes))


def judge_logout(token: str) -> dict[str, Any]:
    return judge_logout_token(
        token, keys=[RS.jwk()], algorithm="RS256", issuer=ISSUER, client_id=CLIENT, now=NOW
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({}, None, id="good"),
        pytest.param({"sid": ABSENT}, None, id="sub alone"),
        pytest.param({"sub": ABSENT}, None, id="sid alone"),
        pytest.param({"events": {LOGOUT_EVENT: {}, "https://other": {}}}, None, id="two events"),
        pytest.param({"iss": ISSUER + "1"}, "iss_wrong", id="iss"),
        pytest.param({"aud": CLIENT + "1"}, "aud_wrong", id="aud"),
        pytest.param({"aud": ABSENT}, "aud_wrong", id="no aud"),
        pytest.param({"iat": ABSENT}, "iat_missing", id="no iat"),
        pytest.param({"iat": NOW + 3600}, "iat_in_future", id="iat in an hour"),
        pytest.param({"iat": NOW - 7200}, "iat_too_old", id="A.10 older than it may be"),
        pytest.param({"exp": ABSENT}, "exp_missing", id="no exp"),
        pytest.param({"exp": NOW - 360}, "expired", id="exp"),
        pytest.param({"sub": ABSENT, "sid": ABSENT}, "sub_and_sid_missing", id="neither"),
        pytest.param({"sub": ["1"]}, "sub_malformed", id="sub a list"),
        pytest.param({"sid": 5}, "sid_malformed", id="sid a number"),
        pytest.param({"sid": ""}, "sid_malformed", id="sid empty"),
        pytest.param({"sid": "s" * 256}, "sid_malformed", id="sid of 256"),
        pytest.param({"sid": "\ud800"}, "sid_malformed", id="sid a lone surrogate"),
        pytest.param({"sub": "a\x00b"}, "sub_malformed", id="sub with NUL"),
        pytest.param({"nonce": NONCE}, "nonce_present", id="nonce"),
        pytest.param({"nonce": None}, "nonce_present", id="nonce null"),
        pytest.param({"events": ABSENT}, "event_missing", id="A.11 an ID token's claims"),
        pytest.param({"events": {}}, "event_missing", id="no event"),
        pytest.param({"events": [LOGOUT_EVENT]}, "event_missing", id="events a list"),
        pytest.param({"events": {"https://other": {}}}, "event_missing", id="another event"),
        pytest.param({"events": {LOGOUT_EVENT: None}}, "event_missing", id="event null"),
        pytest.param({"events": {LOGOUT_EVENT: "x"}}, "event_missing", id="event a text"),
        pytest.param({"jti": ABSENT}, "jti_missing", id="no jti"),
        pytest.param({"jti": ""}, "jti_missing", id="jti empty"),
        pytest.param({"jti": 5}, "jti_missing", id="jti a number"),
        pytest.param({"jti": "\ud800"}, "jti_missing", id="jti a lone surrogate"),
    ],
)
def test_a_logout_token_is_judged_claim_by_claim(
    changes: dict[str, Any], reason: str | None
) -> None:
    claims = logout(**changes)
    if reason is None:
        assert judge_logout(RS.token(claims)) == claims
    else:
        with pytest.raises(TokenRejected) as refusal:
            judge_logout(RS.token(claims))
        assert refusal.value.reason == reason


@pytest.mark.parametrize("typ", [None, "JWT", "logout+jwt", "application/logout+jwt"])
def test_a_logout_token_says_what_it_is(typ: str | None) -> None:
    assert judge_logout(RS.token(logout(), typ=typ))
    for other in ("at+jwt", "dpop+jwt", "id+jwt", "application/at+jwt"):
        with pytest.raises(TokenRejected, match="typ_wrong"):
            judge_logout(RS.token(logout(), typ=other))


def test_neither_token_passes_for_the_other() -> None:
    """A.11: both signed by the right key."""
    with pytest.raises(TokenRejected, match="event_missing"):
        judge_logout(RS.token(good()))
    assert why_not(RS.token(logout(nonce=NONCE))) == "not_an_id_token"


def test_a_logout_token_must_be_signed_as_well() -> None:
    """A.10."""
    with pytest.raises(TokenRejected, match="bad_signature"):
        judge_logout(xored(RS.token(logout())))
    with pytest.raises(TokenRejected, match="alg_wrong"):
        judge_logout(RS.token(logout(), alg="none"))
