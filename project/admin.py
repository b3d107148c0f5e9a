"""The example site's users, with the panel of their OAuth sessions."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User

from oauthbff.admin import GrantsOfUser

admin.site.unregister(User)


@admin.register(User)
class PeopleAdmin(GrantsOfUser, UserAdmin):  # type: ignore[type-arg]
    pass
