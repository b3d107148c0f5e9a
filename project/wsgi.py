"""WSGI entry point: `gunicorn project.wsgi:application`."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
os.environ.setdefault("CONN_MAX_AGE", "60")  # a connection per thread; under ASGI: the pool
application = get_wsgi_application()
