from __future__ import annotations

from django.conf import settings
from django.urls import include, path

from . import views

urlpatterns = {
    "trivial": [path("api/1k", views.trivial), path("async/1k", views.trivial_async)],
    "bare": [path("api/<path:path>", views.bare)],
    "naive": [path("api/<path:path>", views.naive)],
    "tuned": [path("api/<path:path>", views.tuned)],
    "revproxy": [path("api/<path:path>", views.through_revproxy)],
}[settings.WHAT]
urlpatterns += [path("hello", views.hello), path("oidc/", include("mozilla_django_oidc.urls"))]
