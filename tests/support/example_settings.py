"""The example site with the view of docs/views.md, run from that very page."""

from __future__ import annotations

import os

from project.settings import *  # noqa: F403

ROOT_URLCONF = "tests.support.example_urls"
PHOTO_API = os.environ["PHOTO_API"]
REST_FRAMEWORK = {"EXCEPTION_HANDLER": "oauthbff.authentication.exception_handler"}
