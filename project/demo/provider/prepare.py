"""Everything the provider needs before it serves: `python -m project.demo.provider.prepare`.

Tables, people and the one client. Safe to run again on the same database.
"""

from __future__ import annotations

import os

import django
from django.core.management import call_command

from project.demo.people import PASSWORD, PEOPLE


def create_people() -> None:
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import Group, User

    password = make_password(PASSWORD)
    for person in PEOPLE:
        first_name, _, last_name = person.name.partition(" ")
        user, _ = User.objects.update_or_create(
            pk=person.sub,
            defaults={
                "username": person.username,
                "first_name": first_name,
                "last_name": last_name,
                "email": person.email,
                "password": password,
            },
        )
        user.groups.set([Group.objects.get_or_create(name=name)[0] for name in person.groups])


def register_client() -> None:
    from django.conf import settings
    from oauth2_provider.models import Application

    origins = settings.CLIENT_ORIGINS
    Application.objects.update_or_create(
        client_id=settings.CLIENT_ID,
        defaults={
            "name": "Overprint",
            "client_secret": settings.CLIENT_SECRET,
            # The secret is 256 random bits; hashing it would cost half a second per refresh.
            "hash_client_secret": False,
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
            "algorithm": Application.RS256_ALGORITHM,
            "redirect_uris": " ".join(f"{origin}/bff/callback/" for origin in origins),
            "post_logout_redirect_uris": " ".join(
                f"{origin}/bff/logged-out/" for origin in origins
            ),
            "skip_authorization": True,
        },
    )


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.demo.provider.settings"
    django.setup()
    call_command("migrate", verbosity=0)
    create_people()
    register_client()


if __name__ == "__main__":
    main()
