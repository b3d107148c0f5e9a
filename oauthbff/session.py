"""session/ and sessions/: who is signed in here, for how long yet, where else, and why not."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import auth
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.module_loading import import_string
from rest_framework.request import Request

from . import events, grants
from .conf import conf
from .devices import device_of
from .door import PAGE_POLICY, Door, PlainDoor, answer, counts_as_activity, harden, header_of
from .errors import GrantEnded, LoginRequired, NoSuchSession
from .models import EndReason, TokenGrant


class SessionDoor(Door):
    """Always 200: not being signed in is an answer, not an error."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: Request) -> HttpResponse:
        try:
            grant = grants.current(request._request)
            if request.GET.get("slide") != "false" and counts_as_activity(
                header_of(request._request)
            ):
                grants.touch(grant, request._request.session.session_key)
            return answer(signed_in(grant))
        except GrantEnded as ended:
            return answer(signed_out(ended.reason))
        except LoginRequired:
            return answer(signed_out(None))


def signed_out(reason: str | None) -> dict[str, Any]:
    return {"authenticated": False, "login_url": reverse("oauthbff:login"), "ended": reason}


def signed_in(grant: TokenGrant) -> dict[str, Any]:
    return {
        "authenticated": True,
        "user": grants.shown_claims(grant),
        "grant": {
            "handle": str(grant.pk),
            "scopes": grant.scopes.split(),
            "created_at": grant.created_at.isoformat(),
            "idle_expires_in": min(grants.idle_expires_in(grant), grants.expires_in(grant)),
            "expires_in": grants.expires_in(grant),
        },
        "upstreams": list(conf().upstreams),
        "login_url": reverse("oauthbff:login"),
        "logout_url": reverse("oauthbff:logout"),
    }


class SessionsDoor(Door):
    """sessions/: where this user is signed in."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: Request) -> HttpResponse:
        here = grants.current(request._request)
        if counts_as_activity(header_of(request._request)):
            grants.touch(here, request._request.session.session_key)
        return answer({"sessions": [shown(grant, here) for grant in of_user(here)]})


class OneSessionDoor(Door):
    """sessions/<handle>/: look at one of one's own, or end it. Somebody else's is a 404."""

    http_method_names = ["get", "head", "delete", "options"]

    def get(self, request: Request, handle: str) -> HttpResponse:
        here = grants.current(request._request)
        return answer(shown(self.one(here, handle), here))

    def delete(self, request: Request, handle: str) -> HttpResponse:
        here = grants.current(request._request)
        one = self.one(here, handle)
        grants.end(TokenGrant.objects.filter(pk=one.pk), reason=EndReason.LOGOUT, by=here.user)
        if one.pk == here.pk:
            auth.logout(request._request)
        return harden(HttpResponse(status=204))

    def one(self, here: TokenGrant, handle: str) -> TokenGrant:
        try:
            found = of_user(here).filter(pk=uuid.UUID(handle)).first()
        except ValueError:
            found = None
        if found is None:
            raise NoSuchSession("not one of this user's")
        return found


class OtherSessionsDoor(Door):
    """sessions/others/: end all but this one."""

    http_method_names = ["delete", "options"]

    def delete(self, request: Request) -> HttpResponse:
        here = grants.current(request._request)
        others = of_user(here).exclude(pk=here.pk)
        return answer({"ended": grants.end(others, reason=EndReason.LOGOUT, by=here.user)})


@method_decorator(transaction.non_atomic_requests, name="dispatch")
class DevicesPage(PlainDoor):
    """devices/: the same for a person, as a page with forms. Its template can be overridden."""

    http_method_names = ("get", "head", "post")

    def get(self, request: HttpRequest, ended: int = 0) -> HttpResponse:
        try:
            here = grants.current(request)
        except LoginRequired:
            return HttpResponseRedirect(
                f"{reverse('oauthbff:login')}?{urlencode({'return_to': conf().home_url})}"
            )
        grants.touch(here, request.session.session_key)
        a_minute_ago = timezone.now() - timedelta(minutes=1)
        rows = [
            {
                **shown(grant, here),
                "grant": grant,
                "just_now": grant.last_used_at > a_minute_ago,
            }
            for grant in of_user(here)
        ]
        context = {"sessions": rows, "ended": ended, "home_url": conf().home_url}
        response = render(request, "oauthbff/devices.html", context)
        response["Content-Security-Policy"] = PAGE_POLICY
        return harden(response)

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            here = grants.current(request)
        except LoginRequired:
            return self.get(request)
        chosen = of_user(here).exclude(pk=here.pk)
        if "others" not in request.POST:
            handle = request.POST.get("handle", "")
            chosen = chosen.filter(pk=handle) if is_handle(handle) else chosen.none()
        ended = grants.end(chosen, reason=EndReason.LOGOUT, by=here.user)
        return self.get(request, ended)


def is_handle(text: str) -> bool:
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False


def of_user(here: TokenGrant) -> QuerySet[TokenGrant]:
    """The grants that stand and have not quietly run out."""
    return TokenGrant.objects.filter(
        user=here.user_id,
        ended_at=None,
        expires_at__gt=timezone.now(),
        last_used_at__gt=timezone.now() - timedelta(seconds=conf().idle_timeout),
    ).order_by("-last_used_at")


def shown(grant: TokenGrant, here: TokenGrant) -> dict[str, Any]:
    return {
        "handle": str(grant.pk),
        "current": grant.pk == here.pk,
        "device": device_of(grant.user_agent),
        "ip": grant.ip,
        "created_at": grant.created_at.isoformat(),
        "last_used_at": grant.last_used_at.isoformat(),
        **place_of(grant),
    }


def place_of(grant: TokenGrant) -> dict[str, str]:
    """`place`, where the site can tell it from an address, else nothing."""
    hook = conf().place_hook
    if hook is None or grant.ip is None:
        return {}
    try:
        place = import_string(hook)(grant.ip)
    except Exception:  # whatever a database of places raises: the list is worth more
        events.place_hook_broke(trace=True)
        return {}
    return {"place": str(place)} if place else {}
