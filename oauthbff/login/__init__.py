"""login/, callback/, logout/, logged-out/: where the browser comes by navigation.

The only room that imports mozilla_django_oidc: its views make state, nonce and
PKCE verifier, redirect, exchange and sign in; what it does not judge or keep is
done here.

    doors    login/ and callback/
    logout   logout/ and logged-out/
    pages    error/, and how our few pages look
    pending  a login in progress: one sealed cookie per state
    matching people who were here before, tied to their identity once
    seam     where mozilla-django-oidc is bent to our rules; the authentication backend
"""

from __future__ import annotations

from .doors import CallbackDoor, LoginDoor
from .logout import LoggedOutDoor, LogoutDoor
from .pages import ErrorDoor
from .seam import OIDCBackend

__all__ = [
    "CallbackDoor",
    "ErrorDoor",
    "LoggedOutDoor",
    "LoginDoor",
    "LogoutDoor",
    "OIDCBackend",
]
