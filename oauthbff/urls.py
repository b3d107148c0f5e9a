"""What a stranger can knock on. A site writes `path("bff/", include("oauthbff.urls"))`."""

from __future__ import annotations

from django.urls import path, re_path

from .backchannel import BackchannelLogoutDoor
from .edge import AuthorizeDoor
from .login import CallbackDoor, ErrorDoor, LoggedOutDoor, LoginDoor, LogoutDoor
from .proxy import ProxyDoor
from .session import DevicesPage, OneSessionDoor, OtherSessionsDoor, SessionDoor, SessionsDoor

app_name = "oauthbff"

urlpatterns = [
    # Everything below api/, newlines and all: CommonMiddleware must never redirect it.
    # First, because most requests are for it.
    re_path(r"^api/(?P<rest>(?s:.*))\Z", ProxyDoor.as_view(), name="api"),
    path("login/", LoginDoor.as_view(), name="login"),
    path("callback/", CallbackDoor.as_view(), name="callback"),
    path("error/", ErrorDoor.as_view(), name="error"),
    path("session/", SessionDoor.as_view(), name="session"),
    path("logout/", LogoutDoor.as_view(), name="logout"),
    path("logged-out/", LoggedOutDoor.as_view(), name="logged-out"),
    path("backchannel-logout/", BackchannelLogoutDoor.as_view(), name="backchannel-logout"),
    path("sessions/", SessionsDoor.as_view(), name="sessions"),
    path("sessions/others/", OtherSessionsDoor.as_view(), name="other-sessions"),
    path("devices/", DevicesPage.as_view(), name="devices"),
    path("sessions/<str:handle>/", OneSessionDoor.as_view(), name="one-session"),
    # For the proxy in front, which shows a secret; to everybody else it does not exist.
    re_path(
        r"^authorize/(?P<upstream>[^/]+)/(?P<rest>(?s:.*))\Z",
        AuthorizeDoor.as_view(),
        name="authorize",
    ),
]
