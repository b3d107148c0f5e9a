"""The admin's pages over very many grants: queries, times, query plans.

    python bench/admin.py                     1,000,000 grants on PostgreSQL; some minutes
    python bench/admin.py --rows 20000        a try

Prints Markdown. PostgreSQL must be running on 127.0.0.1:5432; the database it makes is dropped.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
HOME = "/admin/oauthbff/tokengrant/"
TIMES = 3

USERS = """
INSERT INTO auth_user (username, email, first_name, last_name, password, is_active, is_staff,
                       is_superuser, date_joined)
SELECT 'user' || n, 'user' || n || '@example.com', 'First' || n, 'Last' || n, '!', true, false,
       false, now() FROM generate_series(1, %(users)s) n
"""
# One in ten stands: signed in over the last eight hours, used in the last 25 minutes. The others
# have ended over the last month, one in fifty of them still to be told to the provider.
GRANTS = """
INSERT INTO oauthbff_tokengrant (id, user_id, issuer, client_id, subject, sid, scopes, envelope,
  session_digest, created_at, authenticated_at, last_used_at, expires_at, access_expires_at,
  refreshed_at, version, lease_owner, refresh_failures, ip, user_agent, ended_at, end_reason,
  end_note, revocation, revocation_attempts, revocation_due_at, revocation_error)
SELECT gen_random_uuid(), (SELECT min(id) FROM auth_user) + n %% %(users)s,
  'https://id.example.com', 'shop', 'subject' || n %% %(users)s, md5('sid' || n),
  'openid profile email photos.read' || CASE WHEN n %% 100 = 0 THEN ' photos.write' ELSE '' END,
  CASE WHEN stands OR n %% 50 = 0 THEN 'v1.bench.' || repeat('x', 1100) ELSE '' END,
  md5(n::text) || md5('x' || n), at, at,
  CASE WHEN stands THEN greatest(at, now() - n %% 1500 * interval '1 second')
    ELSE at + interval '20 minutes' END,
  at + interval '481 minutes', at + interval '5 minutes', at, 1, '', 0,
  ('10.' || n %% 250 || '.' || n / 250 %% 250 || '.' || n / 62500 %% 250)::inet,
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36',
  CASE WHEN stands THEN NULL ELSE at + interval '50 minutes' END,
  CASE WHEN stands THEN '' ELSE
    (ARRAY['logout','idle','idle','absolute','backchannel','superseded'])[1 + n %% 6] END, '',
  CASE WHEN stands THEN 'none' WHEN n %% 50 = 0 THEN 'pending' ELSE 'done' END,
  0, CASE WHEN NOT stands AND n %% 50 = 0 THEN now() + interval '1 hour' END, ''
FROM (
  SELECT n, n < %(rows)s / 10 AS stands,
    now() - n * (CASE WHEN n < %(rows)s / 10 THEN interval '80 hours' ELSE interval '30 days' END)
      / %(rows)s AS at
  FROM generate_series(0, %(rows)s - 1) n
) g
"""
EVENTS = """
INSERT INTO oauthbff_grantevent (grant_id, at, kind, note)
SELECT id, created_at, 'issued', '' FROM oauthbff_tokengrant
UNION ALL SELECT id, ended_at, 'ended', end_reason
  FROM oauthbff_tokengrant WHERE ended_at IS NOT NULL
UNION ALL SELECT id, ended_at, 'revoked', 'done'
  FROM oauthbff_tokengrant WHERE revocation = 'done'
UNION ALL SELECT id, created_at + k * interval '5 minutes', 'refreshed', ''
  FROM oauthbff_tokengrant, generate_series(1, 2) k
"""


INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE tablename IN ('oauthbff_tokengrant', 'oauthbff_grantevent') AND indexname NOT LIKE '%_pkey'
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="grants (default: a million)")
    parser.add_argument("--plans", action="store_true", help="print the plans as well")
    options = parser.parse_args()
    from tests.support.databases import Database

    database = Database("postgresql", Path("/tmp"))  # noqa: S108 - only SQLite writes there
    try:
        _prepare(database, options.rows)
        _measure(options.plans)
    finally:
        database.drop()


def _prepare(database: Any, rows: int) -> None:
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DATABASE_URL": database.url,
        "OIDC_OP_ISSUER": "https://id.example.com",
        "OIDC_RP_CLIENT_ID": "shop",
        "OIDC_RP_CLIENT_SECRET": "secret",
        "OIDC_RP_SCOPES": "openid profile email photos.read photos.write",
        "OAUTHBFF_KEYS": "bench:" + base64.b64encode(os.urandom(32)).decode(),
        "SECRET_KEY": "x" * 50,
        "LOG_LEVEL": "ERROR",
    }
    manage = [sys.executable, "manage.py", "migrate", "-v0"]
    subprocess.run(manage, cwd=ROOT, check=True)  # noqa: S603
    import psycopg

    facts = {"rows": rows, "users": max(1, rows // 10)}
    with psycopg.connect(database.url, autocommit=True) as connection:
        indexes = connection.execute(INDEXES).fetchall()
        for name, _definition in indexes:
            connection.execute(f"DROP INDEX {name}")
        for statement in (USERS, GRANTS, EVENTS):
            connection.execute(statement % facts)
        for _name, definition in indexes:
            connection.execute(definition)
        connection.execute("VACUUM ANALYZE")


def _measure(plans: bool) -> None:
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from oauthbff.models import TokenGrant

    admin = User.objects.create(username="admin", is_staff=True, is_superuser=True)
    client = Client(headers={"Host": "localhost"})
    client.force_login(admin, backend="django.contrib.auth.backends.ModelBackend")
    some = TokenGrant.objects.filter(ended_at=None).order_by("created_at").first()
    assert some is not None  # noqa: S101
    connection = _connection()
    print("| page | queries | median | slowest query |\n|---|---|---|---|")
    telling: list[tuple[str, str]] = []
    for name, address in PAGES.items():
        url = HOME + address.format(one=some)
        took = []
        for _ in range(TIMES):
            begun = time.perf_counter()
            with CaptureQueriesContext(
                connection,
            ) as queries:
                answer = client.get(url)
            took.append(time.perf_counter() - begun)
            assert answer.status_code == 200, (url, answer)  # noqa: S101
        worst = max(queries.captured_queries, key=lambda query: float(query["time"]))
        rows = [each["sql"] for each in queries.captured_queries if "LIMIT 50" in each["sql"]]
        telling.append((name, rows[0] if rows else worst["sql"]))
        print(
            f"| {name} | {len(queries)} | {statistics.median(took) * 1000:.0f} ms "
            f"| {float(worst['time']) * 1000:.0f} ms |",
            flush=True,
        )
    if plans:
        for name, sql in telling:
            print(f"\n### {name}\n\n```\n{_short(sql)}\n\n{_plan(sql)}\n```")


def _connection() -> Any:
    from django.db import connection

    return connection


def _plan(sql: str) -> str:
    with _connection().cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + sql.replace("%", "%%"))
        return "\n".join(line for (line,) in cursor.fetchall())


def _short(sql: str) -> str:
    """A statement without the list of its columns."""
    return re.sub(r'SELECT ("oauthbff_tokengrant"\."[a-z_]+", )+.*? FROM', "SELECT … FROM", sql)


#: Name → address below the list.
PAGES = {
    "the list": "",
    "page 100": "?p=100",
    "active": "?state=active",
    "idle soon": "?state=idle-soon",
    "ended": "?state=ended",
    "waiting for the provider": "?revocation=pending",
    "ended by an administrator (none)": "?reason=admin",
    "reached its greatest age": "?reason=absolute",
    "used in the last 5 minutes": "?used=5m",
    "scope that one in a hundred has": "?scope=photos.write",
    "a day": "?created_at__year={one.created_at.year}&created_at__month={one.created_at.month}"
    "&created_at__day={one.created_at.day}",
    "search: a person": "?q=user4711@example.com",
    "search: a word of 1,111 people": "?q=first77",
    "search: nobody": "?q=no-such-person",
    "search: a subject": "?q=subject4711",
    "search: a provider session": "?q={one.sid}",
    "search: an address": "?q={one.ip}",
    "search: a handle": "?q={one.pk}",
    "one grant": "{one.pk}/change/",
    "end all of a user, asked": "end/?user={one.user_id}",
    "end all of the provider, asked": "end/?provider=https://id.example.com",
    "dashboard, hour": "dashboard/?span=hour",
    "dashboard, day": "dashboard/?span=day",
    "dashboard, month": "dashboard/?span=month",
}

if __name__ == "__main__":
    main()
