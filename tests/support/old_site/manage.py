"""A small site as mozilla-django-oidc's documentation would have it; docs/upgrade.md changes it."""

import os
import sys

from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
execute_from_command_line(sys.argv)
