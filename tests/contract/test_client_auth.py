"""How we show the provider who we are, and pushed authorization requests, at a certified one."""

from __future__ import annotations

import base64
import json
import time
import urllib.parse
from typing import Any

import pytest
from joserfc import jwk

from oauthbff import client_auth
from tests.conftest import MakeSite
from tests.support.provider import NodeProvider

KEYS = {
    "ES256": jwk.ECKey.generate_key("P-256", {"kid": "ours"}),
    "PS256": jwk.RSAKey.generate_key(2048, {"kid": "ours"}),
    "EdDSA": jwk.OKPKey.generate_key("Ed25519", {"kid": "ours"}),
}


@pytest.mark.parametrize("algorithm", ["ES256", "PS256"])
def test_private_key_jwt_signs_in_refreshes_and_revokes_with_fresh_assertions(
    make_site: MakeSite, provider: NodeProvider, algorithm: str
):
    key = KEYS[algorithm]
    site = make_site(
        fresh=True,
        env={
            "OAUTHBFF_CLIENT_KEY": json.dumps(key.as_dict(private=True)),
            "OIDC_RP_CLIENT_SECRET": None,
            "OAUTHBFF_PAR": "True",
        },
    )
    provider.configure(
        CLIENT_AUTH="private_key_jwt",
        CLIENT_JWKS=json.dumps({"keys": [key.as_dict(private=False)]}),
        ACCESS_TTL=1,
        PAR="1",
    )
    jane = site.browser()
    jane.login("jane")
    time.sleep(1.1)
    assert jane.fetch("api/photos/1").status == 200
    jane.fetch("logout/", "POST")
    assert provider.live_refresh_tokens == 0
    asked = [call for call in provider.log() if "client_assertion" in call.params]
    assert {call.path for call in asked} == {"/request", "/token", "/token/revocation"}
    assertions = [call.params["client_assertion"] for call in asked]
    assert len(set(assertions)) == len(assertions)
    for text in assertions:
        header, claims = (
            json.loads(base64.urlsafe_b64decode(part + "==")) for part in text.split(".")[:2]
        )
        assert (header["alg"], header["kid"]) == (algorithm, "ours")
        assert claims["aud"] == provider.issuer
        assert claims["iss"] == claims["sub"] == "bff"
        assert 0 < claims["exp"] - claims["iat"] <= 300
    assert not [call for call in provider.log() if "client_secret" in call.params]


def test_client_secret_post_is_used_where_the_site_says_so(
    make_site: MakeSite, provider: NodeProvider
):
    site = make_site(fresh=True, env={"OAUTHBFF_CLIENT_AUTH": "client_secret_post"})
    provider.configure(CLIENT_AUTH="client_secret_post")
    site.browser().login("jane")
    assert {call.client_auth for call in provider.calls("/token")} == {"post"}


def test_a_provider_that_requires_pushed_requests_gets_them(
    make_site: MakeSite, provider: NodeProvider
):
    provider.configure(PAR="required")
    site = make_site(fresh=True)
    provider.configure(PAR="required")
    jane = site.browser()
    for _ in range(2):
        sent = jane.navigate("login/", from_site=f"{site.base_url}/", follow=False)
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(str(sent.get("Location"))).query)
        assert set(query) == {"client_id", "request_uri"}
    jane.login("jane")
    pushed = provider.calls("/request")
    assert len(pushed) == 3
    assert all(call.client_auth == "Basic" for call in pushed)
    wanted = {"state", "nonce", "code_challenge", "redirect_uri", "scope", "response_type"}
    assert wanted <= set(pushed[0].params)


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 400, "body": {"error": "x"}}])
def test_a_request_that_cannot_be_pushed_leads_to_a_short_page(
    make_site: MakeSite, provider: NodeProvider, fault: dict[str, Any]
):
    provider.configure(PAR="required")
    site = make_site(fresh=True)
    provider.configure(PAR="required")
    provider.fault("/request", times=9, **fault)
    jane = site.browser()
    landed = jane.navigate("login/", from_site=f"{site.base_url}/")
    assert "/bff/error/?bff_error=provider_unavailable" in landed.url
    assert not [name for name in jane.cookies if "login" in name]


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_a_key_is_read_as_jwk_and_as_pem(algorithm: str):
    key = KEYS[algorithm]
    for text in (json.dumps(key.as_dict(private=True)), key.as_pem(private=True).decode()):
        read = client_auth.read_key(text)
        assert client_auth.algorithm_of(read) == algorithm
        assert read.as_dict(private=False)["kty"] == key.as_dict(private=False)["kty"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "not a key",
        json.dumps(KEYS["ES256"].as_dict(private=False)),
        json.dumps(jwk.OctKey.generate_key(256).as_dict(private=True)),
        "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----",
    ],
)
def test_what_is_no_private_key_is_refused_with_a_reason(text: str):
    with pytest.raises(ValueError, match="it is"):
        client_auth.read_key(text)


def test_the_secret_and_id_are_form_encoded_before_base64():
    client = client_auth.Client(client_id="a:b", issuer="https://op", secret="s %+é/=&")
    _, headers = client_auth.credentials(client, "client_secret_basic")
    decoded = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
    assert decoded == "a%3Ab:s+%25%2B%C3%A9%2F%3D%26"
