"""Our doors are the way in: a site that asks for a login everywhere must not ask at these."""

from __future__ import annotations

import pytest
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import URLPattern

from oauthbff.urls import urlpatterns


@pytest.mark.parametrize("door", urlpatterns, ids=lambda door: door.name)
def test_djangos_login_required_middleware_lets_strangers_knock(
    rf: RequestFactory, door: URLPattern
) -> None:
    request = rf.get("/")
    request.user = AnonymousUser()
    guard = LoginRequiredMiddleware(lambda _: HttpResponse())
    assert guard.process_view(request, door.callback, (), {}) is None
