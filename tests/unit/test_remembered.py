"""A document is fetched once, whoever asks. With real threads; a `Remembered` is a process.

Only the age of a copy is arranged: the stored one is written back with an older date.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from django.core.cache import cache

from oauthbff.errors import ProviderError, ProviderUnreachable
from oauthbff.remembered import FRESH_SECONDS, NOTHING_SECONDS, Remembered

ADDRESS = "https://op.example.com/jwks"


class FarSide:
    """A host that counts, and can be slow, down or held up."""

    def __init__(self) -> None:
        self.fetches: list[str] = []
        self.down = False
        self.delay = 0.0
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()

    def fetch(self, address: str) -> dict[str, Any]:
        self.fetches.append(address)
        version = len(self.fetches)
        self.asked.set()
        time.sleep(self.delay)
        assert self.open.wait(10)
        if self.down:
            raise ProviderUnreachable("down")
        return {"version": version, "address": address}


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def far() -> FarSide:
    return FarSide()


@pytest.fixture
def here(far: FarSide) -> Remembered:
    return Remembered("keys", far.fetch)


def together(count: int, act: Callable[[int], Any]) -> list[Any]:
    """What `act` returns or raises in as many threads, all let go at one moment."""
    gate = threading.Barrier(count)

    def one(number: int) -> Any:
        gate.wait(10)
        try:
            return act(number)
        except ProviderError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def let_age(remembered: Remembered, seconds: float = FRESH_SECONDS + 1) -> None:
    """Write the shared copy back as an older one, and forget the process's own."""
    key = remembered._key(ADDRESS)
    copy = cache.get(key)
    cache.set(key, replace(copy, fetched_at=copy.fetched_at - seconds))
    remembered.forget()


def versions(documents: list[Any]) -> set[Any]:
    return {found["version"] if isinstance(found, dict) else type(found) for found in documents}


def test_fifty_threads_on_a_cold_start_fetch_once(here: Remembered, far: FarSide) -> None:
    """AZ-14."""
    far.delay = 0.1
    assert versions(together(50, lambda _: here.get(ADDRESS, wait=5))) == {1}
    assert len(far.fetches) == 1


def test_ten_processes_of_five_threads_on_a_cold_start_fetch_once(far: FarSide) -> None:
    """AZ-14."""
    far.delay = 0.1
    processes = [Remembered("keys", far.fetch) for _ in range(10)]
    assert versions(together(50, lambda n: processes[n % 10].get(ADDRESS, wait=5))) == {1}
    assert len(far.fetches) == 1


def test_a_fresh_copy_is_not_fetched_again(here: Remembered, far: FarSide) -> None:
    for process in (here, here, Remembered("keys", far.fetch)):
        assert process.get(ADDRESS, wait=1)["version"] == 1
    here.forget()
    assert here.get(ADDRESS, wait=1)["version"] == 1
    assert len(far.fetches) == 1


def test_each_address_and_each_name_has_its_own_copy(here: Remembered, far: FarSide) -> None:
    """C2."""
    assert here.get(ADDRESS, wait=1)["version"] == 1
    assert here.get(ADDRESS + "/2", wait=1)["address"] == ADDRESS + "/2"
    assert Remembered("metadata", far.fetch).get(ADDRESS, wait=1)["version"] == 3


def test_an_old_copy_is_fetched_anew(here: Remembered, far: FarSide) -> None:
    here.get(ADDRESS, wait=1)
    let_age(here)
    assert here.get(ADDRESS, wait=1)["version"] == 2
    assert here.get(ADDRESS, wait=1)["version"] == 2
    assert len(far.fetches) == 2


def test_an_old_copy_serves_while_the_fetch_fails(here: Remembered, far: FarSide) -> None:
    """AZ-14."""
    here.get(ADDRESS, wait=1)
    let_age(here)
    far.down = True

    assert here.get(ADDRESS, wait=1)["version"] == 1
    assert here.get(ADDRESS, wait=1)["version"] == 1
    assert len(far.fetches) == 2  # and it was not asked again at once

    far.down = False
    here.forget()
    assert here.get(ADDRESS, wait=1)["version"] == 3


def test_many_threads_with_an_old_copy_ask_a_dead_host_once(here: Remembered, far: FarSide) -> None:
    """AZ-14: else each of them waits for all before it."""
    here.get(ADDRESS, wait=1)
    let_age(here)
    far.down, far.delay = True, 0.1

    assert versions(together(10, lambda _: here.get(ADDRESS, wait=1))) == {1}
    assert len(far.fetches) == 2


def test_an_old_copy_serves_at_once_while_another_thread_fetches(
    here: Remembered, far: FarSide
) -> None:
    here.get(ADDRESS, wait=1)
    let_age(here)
    far.open.clear()
    far.asked.clear()
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(here.get, ADDRESS, wait=5)
        assert far.asked.wait(5)
        quick = pool.submit(here.get, ADDRESS, wait=5)
        try:
            assert quick.result(timeout=1)["version"] == 1
        finally:
            far.open.set()
        assert slow.result(timeout=5)["version"] == 2


def test_an_old_copy_serves_at_once_while_another_process_fetches(
    here: Remembered, far: FarSide
) -> None:
    here.get(ADDRESS, wait=1)
    let_age(here)
    far.open.clear()
    far.asked.clear()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(Remembered("keys", far.fetch).get, ADDRESS, wait=5)
        assert far.asked.wait(5)
        began = time.monotonic()
        assert here.get(ADDRESS, wait=5)["version"] == 1
        assert time.monotonic() - began < 1
        far.open.set()
        assert slow.result(timeout=5)["version"] == 2


def test_without_a_copy_one_waits_for_the_other_process_and_no_longer_than_said(
    here: Remembered, far: FarSide
) -> None:
    far.open.clear()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(Remembered("keys", far.fetch).get, ADDRESS, wait=10)
        assert far.asked.wait(5)
        began = time.monotonic()
        with pytest.raises(ProviderUnreachable):
            here.get(ADDRESS, wait=0.3)
        assert 0.2 < time.monotonic() - began < 2
        far.open.set()
        assert slow.result(timeout=5)["version"] == 1
    assert here.get(ADDRESS, wait=1)["version"] == 1


def test_without_a_copy_a_dead_host_is_an_error_and_is_asked_again_soon(
    here: Remembered, far: FarSide
) -> None:
    far.down = True
    with pytest.raises(ProviderUnreachable):
        here.get(ADDRESS, wait=1)
    far.down = False
    time.sleep(NOTHING_SECONDS + 0.05)
    assert here.get(ADDRESS, wait=1)["version"] == 2


def test_without_a_copy_many_threads_ask_a_dead_host_once(here: Remembered, far: FarSide) -> None:
    """Else each waits for all before it, with a worker held meanwhile."""
    far.down, far.delay = True, 0.1
    assert versions(together(10, lambda _: here.get(ADDRESS, wait=5))) == {ProviderUnreachable}
    assert len(far.fetches) == 1


def test_a_fetch_that_breaks_does_not_lock_the_others_out(far: FarSide) -> None:
    def broken(address: str) -> dict[str, Any]:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        Remembered("keys", broken).get(ADDRESS, wait=5)
    began = time.monotonic()
    assert Remembered("keys", far.fetch).get(ADDRESS, wait=5)["version"] == 1
    assert time.monotonic() - began < 1


# --- get_newer: an unknown key id -------------------------------------------------------------


def test_a_newer_one_is_fetched_once_per_cool_down(here: Remembered, far: FarSide) -> None:
    """ID-12: a hundred random key ids, one fetch."""
    here.get(ADDRESS, wait=1)
    found = [here.get_newer(ADDRESS, wait=1) for _ in range(100)]
    assert versions(found) == {2}
    assert len(far.fetches) == 2


def test_a_newer_one_is_fetched_once_by_all_processes(here: Remembered, far: FarSide) -> None:
    """ID-12."""
    other = Remembered("keys", far.fetch)
    here.get(ADDRESS, wait=1)
    other.get(ADDRESS, wait=1)
    here.get_newer(ADDRESS, wait=1)
    assert other.get_newer(ADDRESS, wait=1)["version"] == 2
    assert other.get(ADDRESS, wait=1)["version"] == 2
    assert len(far.fetches) == 2


def test_a_newer_one_is_fetched_again_after_the_cool_down(here: Remembered, far: FarSide) -> None:
    """C6."""
    here.get_newer(ADDRESS, wait=1)
    cache.delete(here._key(ADDRESS, "cool"))
    assert here.get_newer(ADDRESS, wait=1)["version"] == 2


def test_many_threads_that_need_a_newer_one_all_get_it(here: Remembered, far: FarSide) -> None:
    """C5: the provider has just rotated, and ten people sign in at this moment."""
    here.get(ADDRESS, wait=1)
    far.delay = 0.1
    assert versions(together(10, lambda _: here.get_newer(ADDRESS, wait=5))) == {2}
    assert len(far.fetches) == 2


def test_when_no_newer_one_is_to_be_had_the_old_one_serves(here: Remembered, far: FarSide) -> None:
    here.get(ADDRESS, wait=1)
    far.down = True
    with pytest.raises(ProviderError):
        here.get_newer(ADDRESS, wait=1)
    assert here.get(ADDRESS, wait=1)["version"] == 1
    assert Remembered("keys", far.fetch).get(ADDRESS, wait=1)["version"] == 1
    assert len(far.fetches) == 2


def test_when_there_is_none_at_all_a_newer_one_is_an_error(here: Remembered, far: FarSide) -> None:
    far.down = True
    with pytest.raises(ProviderError):
        here.get_newer(ADDRESS, wait=1)


def test_nobody_waits_for_a_newer_one_that_could_not_be_had(here: Remembered, far: FarSide) -> None:
    """ID-12, A.10: else each forged token holds a worker for the rest of the cool-down."""
    here.get(ADDRESS, wait=1)
    far.down = True
    with pytest.raises(ProviderError):
        here.get_newer(ADDRESS, wait=5)
    began = time.monotonic()
    with suppress(ProviderError):
        assert here.get_newer(ADDRESS, wait=5)["version"] == 1
    assert time.monotonic() - began < 1
    assert len(far.fetches) == 2
