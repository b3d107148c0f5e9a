"""The provider's doors, where DOT's own do not suffice."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.generic import TemplateView
from oauth2_provider.models import Application
from oauth2_provider.views import AuthorizationView, ConnectDiscoveryInfoView
from oauthlib.common import add_params_to_uri

from project.demo.people import PASSWORD, PEOPLE

#: Session key: the URL for which the person has just signed in.
SIGNED_IN_FOR = "signed_in_for"


class Authorize(AuthorizationView):
    """DOT's authorization endpoint, with `max_age`, and with `iss` on errors too."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if is_too_old(request):
            request.user = AnonymousUser()
        return super().dispatch(request, *args, **kwargs)

    def redirect(self, redirect_to: str, application: Application | None) -> HttpResponse:
        """DOT names the issuer in its successes only. RFC 9207 §2 asks for both."""
        if "iss" not in query_of(redirect_to):
            redirect_to = add_params_to_uri(redirect_to, [("iss", settings.ISSUER)])
        return super().redirect(redirect_to, application)


def is_too_old(request: HttpRequest) -> bool:
    """Was the last sign-in longer ago than `max_age`?

    A sign-in made for this very request is never too old; `max_age=0` would
    ask for another for ever. OpenID Connect Core 1.0 §3.1.2.1.
    """
    max_age = request.GET.get("max_age", "")
    if not (max_age.isdecimal() and request.user.is_authenticated):
        return False
    if request.session.pop(SIGNED_IN_FOR, None) == request.get_full_path():
        return False
    return timezone.now() - request.user.last_login > timedelta(seconds=int(max_age))


class Discovery(ConnectDiscoveryInfoView):
    """DOT's metadata, with what it has but does not tell. RFC 8414 §2."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().get(request, *args, **kwargs)
        metadata = json.loads(response.content) | {
            "revocation_endpoint": self._get_endpoint_url(request, "revoke-token"),
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return JsonResponse(metadata, headers={"Access-Control-Allow-Origin": "*"})


class Login(LoginView):
    """The login page: a name and a password, or one click on a person."""

    template_name = "lumen/login.html"

    def get_initial(self) -> dict[str, Any]:
        return {"username": self.authorization_request.get("login_hint", "")}

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs = super().get_form_kwargs()
        if person := self.request.POST.get("person"):
            kwargs["data"] = {"username": person, "password": PASSWORD}
        return kwargs

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        self.request.session[SIGNED_IN_FOR] = self.get_redirect_url()
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        asked = self.authorization_request
        scopes = asked.get("scope", "").split()
        return super().get_context_data(
            people=PEOPLE,
            password=PASSWORD,
            client=Application.objects.filter(client_id=asked.get("client_id", "")).first(),
            permissions=[
                text
                for scope, text in settings.OAUTH2_PROVIDER["SCOPES"].items()
                if scope in scopes and scope != "openid"
            ],
            **kwargs,
        )

    @property
    def authorization_request(self) -> dict[str, str]:
        """The parameters of the request that sent the person here; empty if none did."""
        after = self.get_redirect_url()
        return query_of(after) if after.startswith(reverse("oauth2_provider:authorize")) else {}


def form_anew(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Signing in in one tab makes the forms in the others too old: show them again."""
    response = HttpResponseRedirect(request.get_full_path())
    response.status_code = 303
    return response


class Home(TemplateView):
    """Where a person lands who came for no client, or left without a way back."""

    template_name = "lumen/home.html"
    extra_context = {"clients": settings.CLIENT_ORIGINS}


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))
