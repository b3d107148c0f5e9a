"""What we rely on in mozilla-django-oidc beyond its documentation, held for each version of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
from mozilla_django_oidc.views import OIDCAuthenticationRequestView

from oauthbff.login.seam import Aside, Seam


class AsksNobody(Seam):
    """Our answers to its questions, with endpoints that need no discovery."""

    def get_settings(self, attr: str, *args: Any) -> Any:
        if attr == "OIDC_OP_AUTHORIZATION_ENDPOINT":
            return "https://id.example/authorize"
        return super().get_settings(attr, *args)


class RequestView(AsksNobody, OIDCAuthenticationRequestView):
    pass


class Recording(AsksNobody, OIDCAuthenticationBackend):
    def __init__(self) -> None:
        self.OIDC_RP_CLIENT_ID = self.OIDC_RP_CLIENT_SECRET = ""
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def get_token(self, payload: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(("get_token", tuple(sorted(payload)), {}))
        return {"access_token": "the-access-token", "id_token": "the-id-token"}

    def verify_token(self, token: str, **kwargs: Any) -> dict[str, Any]:
        self.calls.append(("verify_token", (token,), kwargs))
        return {"sub": "jane"}

    def store_tokens(self, access_token: str, id_token: str) -> None:
        self.calls.append(("store_tokens", (access_token, id_token), {}))

    def get_userinfo(self, access_token: str, id_token: str, payload: Any) -> dict[str, Any]:
        self.calls.append(("get_userinfo", (access_token, id_token, payload), {}))
        return {"sub": "jane"}

    def verify_claims(self, claims: dict[str, Any]) -> bool:
        return True

    def filter_users_by_claims(self, claims: dict[str, Any]) -> list[Any]:
        return ["the user"]


@pytest.fixture
def request_(rf: RequestFactory) -> Any:
    request = rf.get("/bff/callback/?code=c&state=s", headers={"host": "localhost"})
    request.session = Aside()  # type: ignore[assignment]
    return request


def test_the_request_view_keeps_one_entry_per_state_with_nonce_and_verifier(request_: Any):
    answer = RequestView().get(request_)
    [(state, entry)] = request_.session["oidc_states"].items()
    assert set(entry) == {"nonce", "code_verifier", "added_on"}
    assert f"state={state}" in answer["Location"]
    assert "code_challenge_method=S256" in answer["Location"]
    assert 43 <= len(entry["code_verifier"]) <= 128
    assert entry["code_verifier"] not in answer["Location"]


def test_the_backend_asks_in_this_order_and_with_these_words(request_: Any):
    backend = Recording()
    user = backend.authenticate(request_, nonce="n", code_verifier="v")
    assert user == "the user"
    assert [name for name, _, _ in backend.calls] == [
        "get_token",
        "verify_token",
        "store_tokens",
        "get_userinfo",
    ]
    assert {"code", "code_verifier", "redirect_uri"} <= set(backend.calls[0][1])
    assert backend.calls[1][1:] == (("the-id-token",), {"nonce": "n"})
    assert backend.calls[3][1] == ("the-access-token", "the-id-token", {"sub": "jane"})
