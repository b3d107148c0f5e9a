"""The example site: the SPA at /, the doors under /bff/, the admin."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from . import pages

admin.site.site_header = "Overprint"
admin.site.index_title = "Behind the counter"

handler400 = pages.bad_request
handler404 = pages.not_found

urlpatterns = [
    path("", pages.index),
    path("bff/", include("oauthbff.urls")),
    path("admin/login/", pages.admin_login),
    path("admin/", admin.site.urls),
]
