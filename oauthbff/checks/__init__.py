"""`manage.py check`: what would make oauthbff unsafe or unable to run. docs/checks.md lists all.

E001-E028  a setting is missing or wrong; found by `conf`, and a server does not start
E051-E057  a route, the edge or the lane is wrong; found by `conf` as well
E031-E047  the site around it is put together wrongly: `site`
W040-W053  works, but should not be deployed like this (`check --deploy`): `deployment`
W060-W060  the same, of a proxy in front
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error

from oauthbff.conf import conf
from oauthbff.errors import Misconfigured

from . import deployment, site
from .deployment import sweeping_is_overdue
from .rules import RULES

__all__ = ["check_deployment", "check_settings", "check_site", "deployment", "site"]
__all__ += ["sweeping_is_overdue"]

Apps = Sequence[AppConfig] | None


def check_settings(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    try:
        conf()
    except Misconfigured as exc:
        return [Error(sentence, hint=hint, id=check) for check, sentence, hint in exc.problems]
    return []


def check_site(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    return [found for rule in RULES.values() if not rule.deploy for found in rule.messages()]


def check_deployment(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    return [found for rule in RULES.values() if rule.deploy for found in rule.messages()]
