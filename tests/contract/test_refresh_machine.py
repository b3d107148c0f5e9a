"""Whatever order things happen in: grants, threads, deaths and a strict provider as a machine.

In this process: the real rooms, a real database file, a provider over loopback that revokes the
family on any reuse. Time is moved in the rows. `MACHINE_EXAMPLES=2000` looks longer and elsewhere.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.db import OperationalError, connection, connections
from django.db.models import Q
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from oauthbff import grants, provider
from oauthbff.claims import judge_token_response
from oauthbff.errors import GrantEnded, ProviderError, ProviderUnreachable
from oauthbff.grants import ending, leasing, refreshing, telling
from oauthbff.models import EndReason, Revocation, TokenGrant
from oauthbff.testing.provider import StrictProvider
from oauthbff.vault import Envelope
from tests.support.databases import Database

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
RESOURCE = "https://mail.example/"
EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "0"))
PROFILE = settings(
    max_examples=EXAMPLES or 30,
    stateful_step_count=15,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink][: 1 if os.environ.get("MACHINE_QUICK") else 2],
)

#: Where a process may die while it refreshes: the function that it never comes out of, or into.
DEATHS: dict[str, tuple[ModuleType, str, str]] = {
    "under its lease": (refreshing, "_ask_for_tokens", "before"),
    "with the answer": (refreshing, "_ask_for_tokens", "after"),
    "before it stores": (refreshing, "_store", "before"),
    "inside the store": (refreshing, "record", "before"),
    "after it stored": (refreshing, "_store", "after"),
}
#: And while it ends a grant.
LAST_STEPS: dict[str, tuple[ModuleType, str, str]] = {
    "before commit": (ending, "_mark_ended", "after"),
    "after commit": (ending, "_after_end", "before"),
    "before it asks": (telling, "let_go_of_the_database", "before"),
    "with the answer": (telling, "_settle", "before"),
}


class Killed(BaseException):
    """kill -9: nothing catches it, and what was committed stays."""


@pytest.fixture(scope="module")
def strict() -> Iterator[StrictProvider]:
    with StrictProvider("bff", "bff-secret") as running:
        yield running
    provider.pool().clear()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any
) -> Iterator[None]:
    """A database that threads can share, in the place of the settings' own."""
    from environ import Env

    mine = Database(request.param, tmp_path)
    configured = connections.databases["default"]
    changes = Env.db_url_config(mine.url)
    if request.param == "sqlite":
        changes["OPTIONS"] = configured["OPTIONS"]
    else:
        changes["OPTIONS"] = {}
    own = connections["default"]
    with django_db_blocker.unblock():
        connections.databases["default"] = {**configured, **changes}
        del connections["default"]
        try:
            call_command("migrate", verbosity=0)
            yield
        finally:
            connections["default"].close()
            connections.databases["default"] = configured
            connections["default"] = own
            mine.drop()


def test_whatever_order_things_happen_in(
    database: None, strict: StrictProvider, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.OIDC_OP_ISSUER = strict.issuer
    settings.OIDC_RP_CLIENT_ID, settings.OIDC_RP_CLIENT_SECRET = "bff", "bff-secret"
    settings.OIDC_TIMEOUT = 5
    monkeypatch.setattr(leasing, "POLL_SECONDS", 0.01)
    cache.clear()
    with ThreadPoolExecutor(8) as pool:
        run_state_machine_as_test(lambda: Machine(strict, pool), settings=PROFILE)


def opened(row: TokenGrant) -> Envelope:
    return Envelope.open(row.envelope, row.place)


class Machine(RuleBasedStateMachine):
    handles = Bundle("handles")

    def __init__(self, strict: StrictProvider, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self.strict, self.pool = strict, pool
        self.families: dict[uuid.UUID, str] = {}
        self.buried: dict[uuid.UUID, str] = {}  # the envelopes of grants when they ended
        self.never_received: set[str] = set()  # tokens that died with a process or on the wire
        self.user = User.objects.create(username=uuid.uuid4().hex)

    @initialize(
        rotation=st.sampled_from(["always", "always", "grace", "never"]),
        revocation=st.sampled_from(["family", "token"]),
        id_token=st.booleans(),
    )
    def a_provider(self, rotation: str, revocation: str, id_token: bool):
        TokenGrant.objects.all().delete()
        self.strict.configure(rotation=rotation, revocation=revocation, id_token=id_token)

    # ----------------------------------------------------------------- what the rules share

    def row(self, pk: uuid.UUID) -> TokenGrant:
        return TokenGrant.objects.get(pk=pk)

    def stands(self, pk: uuid.UUID) -> bool:
        return self.row(pk).ended_at is None

    def in_thread(self, work: Callable[[], Any]) -> Future[Any]:
        """Run in a thread with a connection of its own, and return what came of it."""

        def run() -> Any:
            try:
                return work()
            except (GrantEnded, ProviderError, Killed) as exc:
                return exc
            finally:
                connections.close_all()

        return self.pool.submit(run)

    def fetch(self, pk: uuid.UUID, **asked: Any) -> Any:
        return grants.fresh(TokenGrant.objects.get(pk=pk), **asked)

    def together(self, count: int, pk: uuid.UUID, **asked: Any) -> list[Any]:
        barrier = threading.Barrier(count)

        def one() -> Any:
            found = TokenGrant.objects.get(pk=pk)
            barrier.wait(10)
            return grants.fresh(found, **asked)

        return [each.result(30) for each in [self.in_thread(one) for _ in range(count)]]

    def kill_at(self, place: tuple[ModuleType, str, str], work: Callable[[], Any]) -> Any:
        """Let `work` run into its death; return what came of it, if it did not get there."""
        module, name, when = place
        true = getattr(module, name)

        def deadly(*args: Any, **named: Any) -> Any:
            if when == "after":
                true(*args, **named)
            raise Killed

        setattr(module, name, deadly)
        try:
            return self.in_thread(work).result(30)
        finally:
            setattr(module, name, true)

    def forget_answers_to(self, refresh_token: str | None) -> None:
        """What the last answer to this token brought was received by nobody who lives."""
        mine = [p for p in self.strict.presentations if p.token == refresh_token and p.acted]
        if mine:
            mine[-1].delivered = False
            self.never_received.update(mine[-1].gave)

    def run_out(self, pk: uuid.UUID) -> None:
        TokenGrant.objects.filter(pk=pk).update(access_expires_at=LONG_AGO)
        self.strict.expire(self.families[pk])

    def let_time_pass(self) -> None:
        """Leases lapse, back-offs end, what was put off is due."""
        late = timezone.now() - timedelta(seconds=1)
        TokenGrant.objects.filter(ended_at=None).exclude(lease_until=None).update(lease_until=late)
        TokenGrant.objects.exclude(refresh_not_before=None).update(refresh_not_before=late)
        TokenGrant.objects.exclude(revocation_due_at=None).update(revocation_due_at=late)

    # ------------------------------------------------------------------------------ the rules

    @rule(target=handles)
    def issue(self):
        said = self.strict.sign_in(self.user.username)
        grant = grants.issue(
            user=self.user,
            tokens=judge_token_response(said),
            subject=self.user.username,
            sid=uuid.uuid4().hex,
            authenticated_at=timezone.now(),
            shown_claims={},
            session_key=uuid.uuid4().hex,
            ip=None,
            user_agent="",
        )
        self.families[grant.pk] = self.strict.tokens[said["access_token"]].family
        return grant.pk

    @rule(pk=handles)
    def expire(self, pk: uuid.UUID):
        self.run_out(pk)

    @rule(pk=handles, count=st.sampled_from([1, 1, 2, 6]), expired=st.booleans())
    def ask(self, pk: uuid.UUID, count: int, expired: bool):
        if expired:
            self.run_out(pk)
        before, stood = self.strict.refreshes, self.stands(pk)
        answers = self.together(count, pk)
        asked = self.strict.refreshes - before
        assert asked <= 1
        if not stood:
            assert asked == 0
            assert {type(each) for each in answers} == {GrantEnded}
        elif asked == 0 and expired:
            assert not [each for each in answers if isinstance(each, str)]
        else:
            assert len({each if isinstance(each, str) else type(each) for each in answers}) == 1

    @rule(pk=handles, count=st.sampled_from([1, 4]))
    def refused(self, pk: uuid.UUID, count: int):
        """An API did not take the token: a new one, once."""
        if not self.stands(pk):
            return
        token = opened(self.row(pk)).access_token
        self.strict.expire(self.families[pk])
        before = self.strict.refreshes
        answers = self.together(count, pk, refused=token)
        assert self.strict.refreshes - before <= 1
        assert token not in answers

    @rule(pk=handles, count=st.sampled_from([1, 3]))
    def ask_for_resource(self, pk: uuid.UUID, count: int):
        before, stood = self.strict.refreshes, self.stands(pk)
        for each in self.together(count, pk, resource=RESOURCE):
            assert not isinstance(each, str) or stood
            assert not isinstance(each, str) or self.strict.tokens[each].resource == RESOURCE
        assert self.strict.refreshes - before <= 1

    @rule(pk=handles, times=st.sampled_from([1, 1, 2]), half=st.booleans())
    def lose_answer(self, pk: uuid.UUID, times: int, half: bool):
        """The provider has acted and nobody hears of it: one retry at once."""
        self.run_out(pk)
        before = len(self.strict.presentations)
        self.strict.fail(times=times, after=True, drop=not half, half=half)
        answer = self.in_thread(lambda: self.fetch(pk)).result(30)
        self.strict.mend()
        seen = self.strict.presentations[before:]
        assert len(seen) <= 2
        for each in seen:
            if not each.delivered:
                self.never_received.update(each.gave)
        if seen and seen[0].acted and self.strict.switches.rotation == "always":
            lost_for_good = times == 2
            assert isinstance(answer, ProviderUnreachable if lost_for_good else GrantEnded)

    @rule(pk=handles, count=st.sampled_from([1, 3]), page=st.booleans())
    def nonsense(self, pk: uuid.UUID, count: int, page: bool):
        """An error before it has acted: the grant stands, the others share the bad news."""
        self.run_out(pk)
        stood, before = self.stands(pk), self.strict.refreshes
        status, body = (200, "<html>") if page else (500, {"error": "server_error"})
        self.strict.fail(status=status, body=body)
        answers = self.together(count, pk)
        self.strict.mend()
        assert self.strict.refreshes - before <= 1
        if stood and self.strict.refreshes > before:
            assert not any(isinstance(each, str) for each in answers)
            assert self.stands(pk)

    @rule(down=st.sampled_from([{"token"}, {"revocation"}, {"token", "revocation"}, set()]))
    def provider_goes_down_or_up(self, down: set[str]):
        self.strict.switch(down=frozenset(down))

    @rule(
        pk=handles,
        now=st.booleans(),
        reason=st.sampled_from([EndReason.LOGOUT, EndReason.ADMIN, EndReason.BACKCHANNEL]),
    )
    def end(self, pk: uuid.UUID, now: bool, reason: EndReason):
        stood = self.stands(pk)
        ended = grants.end(TokenGrant.objects.filter(pk=pk), reason=reason, tell_now=now)
        assert ended == int(stood)
        assert isinstance(self.in_thread(lambda: self.fetch(pk)).result(30), GrantEnded)

    @rule(pk=handles)
    def leave_unused(self, pk: uuid.UUID):
        TokenGrant.objects.filter(pk=pk).update(last_used_at=LONG_AGO)

    @precondition(lambda self: not self.strict.switches.down)
    @rule(pk=handles, after=st.booleans(), now=st.booleans(), waiting=st.sampled_from([0, 2]))
    def end_in_flight(self, pk: uuid.UUID, after: bool, now: bool, waiting: int):
        """Logout while the provider has the refresh in hand: the session stays dead."""
        self.let_time_pass()
        self.run_out(pk)
        if not self.stands(pk):
            return
        spent = opened(self.row(pk)).refresh_token
        with self.strict.hold(after=after) as held:
            asking = [self.in_thread(lambda: self.fetch(pk))]
            held.wait()
            asking += [self.in_thread(lambda: self.fetch(pk)) for _ in range(waiting)]
            grants.end(TokenGrant.objects.filter(pk=pk), reason=EndReason.LOGOUT, tell_now=now)
            self.bury()
            held.release()
            answers = [each.result(30) for each in asking]
        assert {type(each) for each in answers} == {GrantEnded}
        assert {each.reason for each in answers} == {EndReason.LOGOUT}
        given = {t for p in self.strict.presentations if p.token == spent for t in p.gave}
        for token in given - self.never_received - {spent}:
            assert not self.strict.tokens[token].alive

    @precondition(lambda self: not self.strict.switches.down)
    @rule(pk=handles)
    def overtake(self, pk: uuid.UUID):
        """A refresher that sleeps longer than its lease comes back to a row that moved on."""
        self.let_time_pass()
        self.run_out(pk)
        if not self.stands(pk):
            return
        spent = opened(self.row(pk)).refresh_token
        with self.strict.hold(after=True) as held:
            slow = self.in_thread(lambda: self.fetch(pk))
            held.wait()
            self.let_time_pass()
            self.forget_answers_to(spent)
            quick = self.in_thread(lambda: self.fetch(pk)).result(30)
            held.release()
            late = slow.result(30)
        lost = self.strict.presentations[-2]
        lost.delivered = False  # nobody was there to take it
        assert type(late) is type(quick)
        if isinstance(quick, str):
            assert late == quick == opened(self.row(pk)).access_token

    @rule(pk=handles, place=st.sampled_from(sorted(DEATHS)), resource=st.booleans())
    def die_refreshing(self, pk: uuid.UUID, place: str, resource: bool):
        self.let_time_pass()
        self.run_out(pk)
        if not self.stands(pk):
            return
        spent = opened(self.row(pk)).refresh_token
        asked = {"resource": RESOURCE} if resource else {}
        came = self.kill_at(DEATHS[place], lambda: self.fetch(pk, **asked))
        if isinstance(came, Killed) and place not in ("under its lease", "after it stored"):
            self.forget_answers_to(spent)

    @rule(pk=handles, place=st.sampled_from(sorted(LAST_STEPS)))
    def die_ending(self, pk: uuid.UUID, place: str):
        one = TokenGrant.objects.filter(pk=pk)
        self.kill_at(LAST_STEPS[place], lambda: grants.end(one, reason=EndReason.LOGOUT))

    @precondition(lambda self: not self.strict.switches.down)
    @rule(pk=handles, statements=st.integers(1, 3))
    def lose_the_database(self, pk: uuid.UUID, statements: int):
        """It is away for a moment between the provider's answer and the store."""
        self.let_time_pass()
        self.run_out(pk)
        if not self.stands(pk):
            return
        spent = opened(self.row(pk)).refresh_token
        left = [statements]

        def down(execute: Any, *statement: Any) -> Any:
            if left[0]:
                left[0] -= 1
                raise OperationalError("the database is restarting")
            return execute(*statement)

        true = provider.refresh

        def asked_then_down(*args: Any, **named: Any) -> Any:
            try:
                return true(*args, **named)
            finally:
                connection.execute_wrappers.append(down)

        def work() -> Any:
            provider.refresh = asked_then_down
            try:
                return self.fetch(pk)
            except OperationalError as exc:
                return exc
            finally:
                provider.refresh = true
                connection.execute_wrappers.clear()

        before = self.strict.refreshes
        answer = self.in_thread(work).result(30)
        assert self.strict.refreshes - before == 1
        if self.strict.presentations[-1].error is None:
            assert answer == opened(self.row(pk)).access_token
        elif self.stands(pk):
            self.forget_answers_to(spent)  # the refusal could not be written down
            assert isinstance(answer, OperationalError)

    @rule()
    def time_passes(self):
        self.let_time_pass()

    @rule()
    def sweep(self):
        grants.sweep()

    # -------------------------------------------------------------------------- what must hold

    def bury(self) -> None:
        for row in TokenGrant.objects.exclude(ended_at=None):
            self.buried.setdefault(row.pk, row.envelope)

    @invariant()
    def no_refresh_token_is_used_twice(self):
        """Except after an answer that nobody received, and then once."""
        if self.strict.switches.rotation == "never":
            return
        for token in {each.token for each in self.strict.presentations}:
            mine = [p for p in self.strict.presentations if p.token == token and p.acted]
            kept = [p for p in mine if p.delivered and p.error is None]
            assert len(kept) <= 1
            assert len(mine) <= 1 + sum(not p.delivered for p in mine)

    @invariant()
    def nothing_is_stored_on_an_ended_grant(self):
        self.bury()
        for row in TokenGrant.objects.exclude(ended_at=None):
            assert row.envelope in (self.buried[row.pk], "")

    @invariant()
    def every_end_has_its_revocation_or_the_intent(self):
        for row in TokenGrant.objects.all():
            if row.ended_at is None:
                assert row.revocation == Revocation.NONE
                assert opened(row).access_token
            elif row.revocation == Revocation.PENDING:
                assert row.revocation_due_at is not None
                assert opened(row).access_token
            else:
                assert row.revocation == Revocation.DONE
                assert row.envelope == ""

    def teardown(self) -> None:
        """When everything has settled, the dead are dead and the living can go on."""
        self.strict.mend()
        self.strict.switch(down=frozenset())
        if sys.exc_info()[0] is not None:
            return  # a rule has failed; let it speak
        self.settle()
        for row in TokenGrant.objects.filter(ended_at=None):
            self.run_out(row.pk)
            spent = opened(row).refresh_token
            answer = self.in_thread(lambda pk=row.pk: self.fetch(pk)).result(30)  # type: ignore[misc]
            if isinstance(answer, GrantEnded):
                # Only where the answer to this very token was lost with somebody.
                assert sum(p.token == spent for p in self.strict.presentations) > 1
            else:
                assert self.strict.takes(answer)
        if self.families:
            everybody = TokenGrant.objects.filter(pk__in=self.families)
            grants.end(everybody, reason=EndReason.ADMIN, tell_now=False)
        self.settle()
        self.no_refresh_token_is_used_twice()
        self.every_end_has_its_revocation_or_the_intent()

    def settle(self) -> None:
        for _ in range(3):
            self.let_time_pass()
            grants.sweep()
        self.strict.end_grace()
        assert not TokenGrant.objects.filter(~Q(ended_at=None), revocation="pending").exists()
        for pk, family in self.families.items():
            if not self.stands(pk):
                living = {token.value for token in self.strict.alive(family=family)}
                assert living <= self.never_received
                assert not living or self.strict.switches.revocation == "token"
