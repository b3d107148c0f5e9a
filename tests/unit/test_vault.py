"""Seals open in their own place, with their own key, and nowhere else."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, asdict
from typing import Any, ClassVar

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from oauthbff import datakeys
from oauthbff.conf import StoredKey
from oauthbff.errors import KeyLost, KeyStoreUnavailable, SealBroken
from oauthbff.vault import NONCE_BYTES, Envelope, key_id_of, seal, unseal

OLD = base64.b64encode(bytes(range(32))).decode()
NEW = base64.b64encode(bytes(range(100, 132))).decode()
PLACE = "grant:1"


def have_keys(settings: Any, **keys: str) -> None:
    settings.OAUTHBFF = settings.OAUTHBFF | {"KEYS": keys}


@pytest.fixture(autouse=True)
def _one_key(settings: Any) -> None:
    have_keys(settings, old=OLD)


@profile(deadline=None)
@given(plain=st.binary(max_size=200), place=st.text(st.characters(codec="utf-8"), max_size=20))
def test_what_was_sealed_opens_in_its_place(plain: bytes, place: str) -> None:
    assert unseal(seal(plain, place), place) == plain


@pytest.mark.parametrize(
    "elsewhere",
    [
        pytest.param("grant:2", id="another row"),
        pytest.param("grant:11", id="a row that begins alike"),
        pytest.param("login:1", id="another purpose"),
        pytest.param("grant", id="no row"),
        pytest.param("grant:", id="an empty row"),
        pytest.param("", id="nowhere"),
        pytest.param("Grant:1", id="another case"),
        pytest.param("grant:1 ", id="a space more"),
    ],
)
def test_a_seal_that_was_moved_does_not_open(elsewhere: str) -> None:
    sealed = seal(b"secret", PLACE)
    assert unseal(sealed, PLACE) == b"secret"
    with pytest.raises(SealBroken):
        unseal(sealed, elsewhere)


def test_one_changed_bit_anywhere_breaks_the_seal() -> None:
    head, _, text = seal(b"secret", PLACE).rpartition(".")
    raw = base64.urlsafe_b64decode(text + "==")
    for place in range(len(raw)):
        changed = bytes(byte ^ (i == place) for i, byte in enumerate(raw))
        with pytest.raises(SealBroken):
            unseal(f"{head}.{base64.urlsafe_b64encode(changed).rstrip(b'=').decode()}", PLACE)


def test_a_shortened_or_lengthened_seal_does_not_open() -> None:
    head, _, text = seal(b"secret", PLACE).rpartition(".")
    raw = base64.urlsafe_b64decode(text + "==")
    for changed in (*(raw[:length] for length in range(len(raw))), raw + b"\x00", b"\x00" + raw):
        with pytest.raises(SealBroken):
            unseal(f"{head}.{base64.urlsafe_b64encode(changed).rstrip(b'=').decode()}", PLACE)


@pytest.mark.parametrize(
    "junk",
    ["", ".", "..", "v1", "v1.old", "v1.old.", "v2.old.AAAA", "v1.old.!!", "v1.old.é", "v1.old.A"],
)
def test_what_is_no_seal_does_not_open(junk: str) -> None:
    with pytest.raises(SealBroken):
        unseal(junk, PLACE)


@profile(deadline=None)
@given(st.text(max_size=40))
def test_no_text_makes_the_vault_fall_over(text: str) -> None:
    for junk in (text, f"v1.old.{text}", f"v1.{text}"):
        with pytest.raises(SealBroken):
            unseal(junk, PLACE)


def test_a_lost_key_is_told_from_a_broken_seal(settings: Any) -> None:
    sealed = seal(b"secret", PLACE)

    have_keys(settings, new=NEW)
    with pytest.raises(KeyLost):
        unseal(sealed, PLACE)

    have_keys(settings, new=NEW, old=OLD)
    assert unseal(sealed, PLACE) == b"secret"


def test_a_key_of_the_same_name_and_other_bytes_does_not_open(settings: Any) -> None:
    sealed = seal(b"secret", PLACE)
    have_keys(settings, old=NEW)
    with pytest.raises(SealBroken) as broken:
        unseal(sealed, PLACE)
    assert not isinstance(broken.value, KeyLost)


def test_a_seal_under_another_keys_name_does_not_open(settings: Any) -> None:
    have_keys(settings, old=OLD, new=NEW)
    sealed = seal(b"secret", PLACE)
    with pytest.raises(SealBroken):
        unseal(sealed.replace("old", "new"), PLACE)


def test_the_first_key_seals_and_all_open(settings: Any) -> None:
    before = seal(b"before", PLACE)

    have_keys(settings, new=NEW, old=OLD)
    after = seal(b"after", PLACE)

    assert (key_id_of(before), key_id_of(after)) == ("old", "new")
    assert (unseal(before, PLACE), unseal(after, PLACE)) == (b"before", b"after")


def test_two_seals_of_one_thing_differ() -> None:
    seals = {seal(b"secret", PLACE) for _ in range(200)}
    assert len({sealed.rpartition(".")[2][: NONCE_BYTES * 4 // 3] for sealed in seals}) == 200


def test_the_seal_shows_nothing_of_what_it_holds() -> None:
    plain = os.urandom(32).hex().encode()
    sealed = seal(plain, PLACE)
    raw = base64.urlsafe_b64decode(sealed.rpartition(".")[2] + "==")
    assert plain not in raw and plain.decode() not in sealed


@pytest.mark.parametrize("value", ["", "v1", "v1.old", "a.b.c.d"])
def test_without_a_seal_there_is_no_key_id(value: str) -> None:
    assert key_id_of(value) == ""


FULL = {
    "access_token": "SECRET-access",
    "refresh_token": "SECRET-refresh",
    "id_token": "SECRET-id",
    "session_key": "SECRET-session",
    "claims": {"sub": "1", "name": "SECRET-Ü"},
    "resources": {"https://a": {"access_token": "SECRET-a", "expires_at": None}},
}


@pytest.mark.parametrize("given", [FULL, {"access_token": "SECRET"}], ids=["full", "bare"])
def test_an_envelope_comes_out_as_it_went_in(given: dict[str, Any]) -> None:
    envelope = Envelope(**given)
    sealed = envelope.seal(PLACE)
    assert Envelope.open(sealed, PLACE) == envelope
    assert asdict(Envelope.open(sealed, PLACE)) == asdict(envelope)
    assert "SECRET" not in sealed


def test_an_envelope_shows_nothing() -> None:
    envelope = Envelope(**FULL)
    for text in (
        repr(envelope),
        str(envelope),
        f"{envelope}",
        f"{[envelope]}",
        f"{envelope!r:>99}",
    ):
        assert "SECRET" not in text


def test_an_envelope_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Envelope(**FULL).access_token = "other"  # type: ignore[misc]


def test_an_envelope_that_was_moved_does_not_open() -> None:
    with pytest.raises(SealBroken):
        Envelope.open(Envelope(**FULL).seal("grant:1"), "grant:2")


def test_the_errors_hold_no_secret(settings: Any) -> None:
    sealed = seal(b"SECRET", PLACE)
    have_keys(settings, new=NEW)
    with pytest.raises(KeyLost) as lost:
        unseal(sealed, PLACE)
    assert not any(part in str(lost.value) for part in ("SECRET", sealed, NEW, OLD))


# --- keys that stay in a key store ---------------------------------------------------------------


class Store:
    """A key store in this process. Its two verbs can be counted, and it can be down."""

    asked: ClassVar[list[str]] = []
    down: ClassVar[bool] = False
    _key: ClassVar[bytes] = os.urandom(32)

    def wrap(self, name: str, data_key: bytes, context: Mapping[str, str]) -> bytes:
        self._knock("wrap")
        nonce = os.urandom(12)
        return nonce + AESGCM(self._key).encrypt(nonce, data_key, repr((name, context)).encode())

    def unwrap(self, name: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        self._knock("unwrap")
        try:
            where = repr((name, context)).encode()
            return AESGCM(self._key).decrypt(wrapped[:12], wrapped[12:], where)
        except (InvalidTag, ValueError):
            raise SealBroken("not mine") from None

    def _knock(self, verb: str) -> None:
        if self.down:
            raise KeyStoreUnavailable("down")
        self.asked.append(verb)


@pytest.fixture
def store(settings: Any) -> Iterator[type[Store]]:
    """A site whose first key is in the store, and its old one not."""
    path = f"{__name__}.Store"
    changes = {"KEY_STORES": {"mem": path}, "KEYS": {"s": "mem:one", "old": OLD}}
    settings.OAUTHBFF = settings.OAUTHBFF | changes
    Store.asked.clear()
    yield Store
    Store.down = False


def test_a_key_store_is_asked_once_for_each_data_key(store: type[Store]) -> None:
    sealed = seal(b"secret", PLACE)
    for _ in range(10):
        assert unseal(sealed, PLACE) == b"secret"
    assert store.asked == ["wrap"]
    datakeys.forget()
    for _ in range(10):
        assert unseal(sealed, PLACE) == b"secret"
    assert store.asked == ["wrap", "unwrap"]
    assert key_id_of(sealed) == "s"


def test_a_data_key_is_forgotten_in_time(store: type[Store], settings: Any) -> None:
    settings.OAUTHBFF = settings.OAUTHBFF | {"DATA_KEY_SECONDS": 1}
    sealed = seal(b"secret", PLACE)
    time.sleep(1.05)
    store.down = True
    with pytest.raises(KeyStoreUnavailable):
        unseal(sealed, PLACE)


def test_many_at_once_ask_the_store_once(store: type[Store]) -> None:
    sealed = seal(b"secret", PLACE)
    datakeys.forget()
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(lambda _: unseal(sealed, PLACE), range(100))) == {b"secret"}
    assert store.asked == ["wrap", "unwrap"]


def test_a_value_that_is_replaced_keeps_its_data_key(store: type[Store]) -> None:
    before = seal(b"before", PLACE)
    after = seal(b"after", PLACE, instead_of=before)
    assert store.asked == ["wrap"]
    assert before.split(".")[2] == after.split(".")[2]
    assert unseal(after, PLACE) == b"after"


def test_new_tokens_are_not_lost_when_the_store_is_away_as_they_come(
    store: type[Store], settings: Any
) -> None:
    settings.OAUTHBFF = settings.OAUTHBFF | {"DATA_KEY_SECONDS": 1}
    before = seal(b"before", PLACE)
    time.sleep(1.05)  # its time has run out since it was opened
    store.down = True
    after = seal(b"after", PLACE, instead_of=before)
    store.down = False
    datakeys.forget()
    assert unseal(after, PLACE) == b"after"


def test_a_grant_on_its_way_into_a_dead_store_stays_under_its_old_key(
    store: type[Store], settings: Any
) -> None:
    have_keys(settings, old=OLD)
    before = seal(b"before", PLACE)
    settings.OAUTHBFF = settings.OAUTHBFF | {"KEYS": {"s": "mem:one", "old": OLD}}
    store.down = True
    after = seal(b"after", PLACE, instead_of=before)
    assert (key_id_of(after), unseal(after, PLACE)) == ("old", b"after")
    with pytest.raises(KeyStoreUnavailable):
        seal(b"new", PLACE)


def test_a_data_key_serves_in_its_own_place_only(store: type[Store]) -> None:
    sealed = seal(b"secret", "grant:1")
    datakeys.forget()
    with pytest.raises(SealBroken):
        unseal(sealed, "grant:2")


def test_what_strangers_make_us_seal_shares_one_data_key(store: type[Store]) -> None:
    sealed = [seal(b"x", f"login:{number}") for number in range(10)]
    assert store.asked == ["wrap"]
    assert [unseal(one, f"login:{number}") for number, one in enumerate(sealed)] == [b"x"] * 10
    assert store.asked == ["wrap"]


@pytest.mark.parametrize("forge", [lambda w: "A" + w[1:], lambda w: w.partition("~")[0]])
def test_a_strangers_garbage_never_reaches_the_store(store: type[Store], forge: Any) -> None:
    version, key_id, wrapped, text = seal(b"x", "login:1").split(".")
    datakeys.forget()
    with pytest.raises(SealBroken):
        unseal(".".join((version, key_id, forge(wrapped), text)), "login:1")
    assert store.asked == ["wrap"]


def test_a_key_that_moved_into_the_store_under_its_old_name_is_lost(
    store: type[Store], settings: Any
) -> None:
    have_keys(settings, s=OLD)
    sealed = seal(b"secret", PLACE)
    have_keys(settings, s="mem:one")
    with pytest.raises(KeyLost):
        unseal(sealed, PLACE)


def test_a_key_store_shows_no_data_key(store: type[Store]) -> None:
    found = datakeys.new(StoredKey(f"{__name__}.Store", "one"), PLACE)
    assert found.plain.hex() not in repr(found) and repr(found.plain) not in repr(found)
