"""What the provider's claims mean on this site."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User


def staff_by_group(user: User, claims: dict[str, Any]) -> None:
    """Members of the group `staff` run this site: they see the admin. Others lose it again."""
    groups = claims.get("groups")
    user.is_staff = user.is_superuser = isinstance(groups, list) and "staff" in groups
