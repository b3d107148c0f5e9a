"""DRF permissions and a throttle for the proxy tests' routes, as a site would write them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, TooManyFieldsSent
from django.http import Http404
from rest_framework import exceptions
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle

RAISES: dict[str, Any] = {
    "NotAuthenticated": exceptions.NotAuthenticated,
    "AuthenticationFailed": exceptions.AuthenticationFailed,
    "PermissionDenied": lambda: exceptions.PermissionDenied("not on your plan"),
    "django.PermissionDenied": PermissionDenied,
    "NotFound": exceptions.NotFound,
    "Http404": Http404,
    "ValidationError": lambda: exceptions.ValidationError({"q": ["too short"]}),
    "ParseError": exceptions.ParseError,
    "BadRequest": BadRequest,
    "TooManyFieldsSent": TooManyFieldsSent,
    "APIException": exceptions.APIException,
    "Throttled": lambda: exceptions.Throttled(wait=2.5),
    "ThrottledForever": exceptions.Throttled,
    "ZeroDivisionError": lambda: ZeroDivisionError("canary-of-a-bug"),
}


class AsAsked(BasePermission):
    """Refuses, or raises, what the query says."""

    message = "only for those who may"

    def has_permission(self, request: Request, view: Any) -> bool:
        asked = request.query_params
        if asked.get("read") == "data":
            return bool(request.data)
        if "raise" in asked:
            raise RAISES[asked["raise"]]()
        if "user" in asked:
            return bool(
                request.user.is_authenticated
                and request.auth is not None
                and request.auth.subject == asked["user"]
                and request.auth.user == request.user
                and view.route.name == "guarded"
            )
        return "refuse" not in asked


class ThriceAMinute(UserRateThrottle):
    """Three calls a minute, counted for those who ask for it."""

    rate = "3/min"

    def allow_request(self, request: Request, view: Any) -> bool:
        return "count" not in request.query_params or bool(super().allow_request(request, view))
