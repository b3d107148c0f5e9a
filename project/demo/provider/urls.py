"""Every door of the provider.

DOT reverses its own names, hence the namespace. Its pages for managing clients
and its device and introspection endpoints have no use here and are left out.
"""

from __future__ import annotations

from django.urls import include, path
from oauth2_provider import views as dot

from . import views

oidc = [
    path("authorize/", views.Authorize.as_view(), name="authorize"),
    path("token/", dot.TokenView.as_view(), name="token"),
    path("revoke_token/", dot.RevokeTokenView.as_view(), name="revoke-token"),
    path("userinfo/", dot.UserInfoView.as_view(), name="user-info"),
    path("logout/", dot.RPInitiatedLogoutView.as_view(), name="rp-initiated-logout"),
    path(".well-known/jwks.json", dot.JwksInfoView.as_view(), name="jwks-info"),
    path(
        ".well-known/openid-configuration",
        views.Discovery.as_view(),
        name="oidc-connect-discovery-info",
    ),
]

urlpatterns = [
    path("", views.Home.as_view(), name="home"),
    path("login/", views.Login.as_view(), name="login"),
    path("o/", include((oidc, "oauth2_provider"))),
]
