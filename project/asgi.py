"""ASGI entry point: `uvicorn project.asgi:application`."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application

from oauthbff.lane import Lane

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application: Any = get_asgi_application()
if settings.LANE:
    application = Lane(application)
