"""The lane in front of the example site, as its docs have it."""

from __future__ import annotations

from django.core.asgi import get_asgi_application

from oauthbff.lane import Lane

application = Lane(get_asgi_application())
