"""Programs that run beside a site, in its environment: `python -m tests.support.refreshers WORD`.

fill      stdin: lines of (sub, refresh token); stores a grant for each, under the first key
refresh   refresh grants at random, until stdin closes; stdout: how often, and what went wrong
open      stdout: lines of (sub, refresh token, key id), read out of every envelope
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
import time
import uuid
from collections import Counter
from datetime import timedelta

import django

BATCH = 1000
#: Seconds between two calls of a worker: eight that never pause leave nobody else a processor.
PAUSE = 0.04


def fill() -> None:
    from django.contrib.auth.models import User
    from django.utils import timezone

    from oauthbff.conf import conf
    from oauthbff.models import TokenGrant
    from oauthbff.vault import Envelope

    user, now = User.objects.create_user("everybody"), timezone.now()
    rows = []
    for sub, refresh_token in map(json.loads, sys.stdin):
        grant = TokenGrant(id=uuid.uuid4(), user=user, subject=sub, issuer=conf().issuer)
        grant.client_id, grant.created_at = conf().client_id, now
        grant.authenticated_at = grant.last_used_at = grant.refreshed_at = now
        grant.access_expires_at, grant.expires_at = now, now + timedelta(hours=8)
        tokens = Envelope(access_token=f"at-{sub}", refresh_token=refresh_token)
        grant.envelope = tokens.seal(grant.place)
        rows.append(grant)
        if len(rows) == BATCH:
            TokenGrant.objects.bulk_create(rows)
            rows = []
    TokenGrant.objects.bulk_create(rows)


def refresh() -> None:
    from oauthbff import grants
    from oauthbff.errors import BFFError
    from oauthbff.models import TokenGrant

    everybody = list(TokenGrant.objects.values_list("pk", flat=True))
    saw: Counter[str] = Counter()
    while not select.select([sys.stdin], [], [], 0)[0]:
        try:
            grants.fresh(grants.reread(TokenGrant(pk=random.choice(everybody))))
            saw["refreshed or fresh"] += 1
        except BFFError as exc:
            saw[f"{type(exc).__name__}: {exc}"] += 1
        time.sleep(PAUSE)
    print(json.dumps(saw))


def open_all() -> None:
    from oauthbff.models import TokenGrant
    from oauthbff.vault import Envelope

    for grant in TokenGrant.objects.iterator(BATCH):
        tokens = Envelope.open(grant.envelope, grant.place)
        print(json.dumps([grant.subject, tokens.refresh_token, grant.key_id]))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    {"fill": fill, "refresh": refresh, "open": open_all}[sys.argv[1]]()
