"""Epochs: which one a sender uses, when it changes, what is forgotten, and who may be given one."""

import hashlib
import hmac
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
from nacl.public import PrivateKey, SealedBox

from p2phouse.record import cbor, envelope, limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Epoch, EpochBox
from p2phouse.room import epochs, keys
from p2phouse.room.epochs import EpochRefused, Epochs, Known, covers
from p2phouse.vocabulary import DeviceKey, Now, RecordId, RoomId
from tests.room.logbook import Logbook, person

ROOM = RoomId(bytes(range(32)))
ANA, BEN, CLEO = person("ana"), person("ben"), person("cleo")
NOBODY: frozenset[RecordId] = frozenset()


def removal(name: str) -> RecordId:
    return RecordId(hashlib.sha256(name.encode()).digest())


A, B, C = sorted(map(removal, "abc"))


def at(mono: float) -> Now:
    return Now(mono, 1_800_000_000.0 + mono)


class Device:
    """One device's epochs; every maker of tests counts but those it names."""

    def __init__(self, me=ANA, room: RoomId = ROOM) -> None:
        self.me = me
        self.epochs = Epochs(room, me.dev)
        self.void: set[DeviceKey] = set()
        self.removed: frozenset[RecordId] = NOBODY
        self.rng = random.Random(me.dev)

    def counts(self, dev: DeviceKey) -> bool:
        return dev not in self.void

    def step(self, mono: float) -> bool:
        return self.epochs.step(at(mono), self.removed, self.counts)

    def take(self, mono: float, *records: Signed[Epoch]) -> Known | None:
        known = None
        for signed in records:
            known = self.epochs.take(at(mono), signed, self.open)
        self.step(mono)
        return known

    def open(self, box: bytes) -> bytes | None:
        return keys.open_box(self.me.seal_key, box)

    @property
    def n(self) -> int | None:
        return self.epochs.sending.outline.n if self.epochs.sending else None

    @property
    def hears(self) -> set[int]:
        return {known.outline.n for known in self.epochs.receiving}


class Maker:
    """Signs whatever epoch a test wants."""

    def __init__(self, me=CLEO, room: RoomId = ROOM) -> None:
        self.me = me
        self.room = room

    def epoch(self, n: int, *, rm=(), to=(ANA, BEN), secret: bytes | None = None, parent=None):
        """A record of the epoch, sealed to these; `parent`: a ratchet of that record."""
        if secret is None:
            secret = hashlib.sha256(repr((n, rm, self.me.dev)).encode()).digest()
        boxes = []
        for other in to:
            sealed = keys.seal(secret, bytes(other.seal_key.public_key), random.Random(n).randbytes)
            assert sealed is not None
            boxes.append(EpochBox(other.dev, sealed))
        record = Epoch(
            room=self.room,
            dev=self.me.dev,
            by=self.me.dev if parent is None else parent.record.by,
            n=n,
            ratchet=parent is not None,
            parent=None if parent is None else epochs.read_outline(parent.record).line,
            rm=tuple(sorted(rm)),
            commit=keys.commit(secret),
            boxes=tuple(boxes),
        )
        return envelope.sign(record, self.me.device_key)

    def ratchet(self, of: Signed[Epoch], secret: bytes, **more):
        n = of.record.n + 1
        made = keys.next_secret(secret, room=self.room, epoch=n)
        return self.epoch(n, rm=of.record.rm, parent=of, secret=made, **{"to": (), **more})


MAKER = Maker()


# ── keys ─────────────────────────────────────────────────────────────────────────────────────


def test_a_box_is_libsodiums_sealed_box_and_opens_for_its_owner_alone():
    key, other = PrivateKey(bytes(range(32))), PrivateKey(bytes(range(1, 33)))
    sealed = keys.seal(b"s" * 32, bytes(key.public_key), random.Random(1).randbytes)
    assert sealed is not None
    assert SealedBox(key).decrypt(sealed) == b"s" * 32 == keys.open_box(key, sealed)
    assert keys.open_box(other, sealed) is None
    assert keys.open_box(key, SealedBox(key.public_key).encrypt(b"short")) is None
    for rubbish in (bytes(80), b"\1" + bytes(79), sealed[:-1] + bytes([sealed[-1] ^ 1])):
        assert keys.open_box(key, rubbish) is None


@pytest.mark.parametrize("xpk", [bytes(32), b"\1" + bytes(31)])
def test_a_key_of_small_order_gets_no_box(xpk):
    """Anybody could open it; and libsodium's refusal must not end the keeper."""
    assert keys.seal(bytes(32), xpk, random.Random(1).randbytes) is None


def test_the_secret_of_a_ratchet_is_hkdf_expand_of_its_parents():
    info = b"p2phouse/1/epoch-next\0" + ROOM + b"\0\0\0\10" + b"\1"
    made = hmac.new(bytes(range(32)), info, hashlib.sha256).digest()
    assert keys.next_secret(bytes(range(32)), room=ROOM, epoch=8) == made


def test_no_secret_comes_from_random():
    for module in (keys, epochs):
        assert module.__file__ is not None
        assert "random" not in Path(module.__file__).read_text()


# ── the cover rule ───────────────────────────────────────────────────────────────────────────


def test_a_sender_without_an_epoch_has_nothing_to_send_under():
    device = Device()
    assert not device.step(0)
    assert device.epochs.sending is None
    assert device.epochs.receiving == ()


def test_a_sender_uses_the_highest_number_that_accounts_for_every_removal_it_knows():
    device = Device()
    device.removed = frozenset({A})
    device.take(0, MAKER.epoch(4, rm=[A]), MAKER.epoch(9), MAKER.epoch(6, rm=[A, B]))
    assert device.n == 6
    device.removed = frozenset({A, C})
    device.step(0)
    assert device.n is None
    device.take(0, MAKER.epoch(5, rm=[A, B, C]))
    assert device.n == 5


def test_of_one_number_chance_goes_before_a_ratchet_and_then_the_lower_id():
    parent = MAKER.epoch(1, secret=b"p" * 32)
    ratchet = MAKER.ratchet(parent, b"p" * 32)
    others = [Maker(BEN).epoch(2), MAKER.epoch(2)]
    device = Device()
    device.take(0, parent, ratchet, *others)
    assert device.epochs.sending is not None
    assert not device.epochs.sending.outline.ratchet
    assert device.epochs.sending.outline.id == min(
        epochs.read_outline(each.record).id for each in others
    )


def test_all_who_know_the_same_epochs_use_the_same_one_in_whatever_order_they_came():
    made = [Maker(who).epoch(n) for n in (1, 2, 3) for who in (BEN, CLEO)]
    used = set()
    for seed in range(20):
        device = Device()
        random.Random(seed).shuffle(made)
        device.take(0, *made)
        device.step(3)
        assert device.epochs.sending is not None
        used.add(device.epochs.sending.outline.id)
    assert len(used) == 1


def test_an_epoch_counts_only_as_long_as_somebody_who_runs_the_room_has_signed_it():
    device = Device()
    device.take(0, MAKER.epoch(1), Maker(BEN).epoch(2))
    device.step(3)
    assert device.n == 2
    device.void = {BEN.dev}
    device.step(4)
    assert device.n == 1


def test_who_passes_an_epoch_on_does_not_make_it_count():
    """Somebody put out made it, and one who has not heard of that hands it on in good faith."""
    theirs = Maker(BEN).epoch(2)
    passed_on = envelope.sign(replace(theirs.record, dev=CLEO.dev), CLEO.device_key)
    device = Device()
    device.void = {BEN.dev}
    device.take(0, passed_on)
    assert device.n is None
    device.take(0, theirs)
    assert device.n is None
    further = MAKER.ratchet(theirs, hashlib.sha256(repr((2, (), BEN.dev)).encode()).digest())
    device.take(0, further)
    assert device.n is None
    device.void = set()
    device.step(0)
    assert device.n == 3


def test_an_epoch_passed_on_counts_once_its_maker_s_own_record_is_there():
    theirs = Maker(BEN).epoch(2, to=[])
    secret = hashlib.sha256(repr((2, (), BEN.dev)).encode()).digest()
    passed_on = replace(MAKER.epoch(2, secret=secret).record, by=BEN.dev)
    device = Device()
    device.void = {CLEO.dev}  # who only listens, but may pass it on
    device.take(0, envelope.sign(passed_on, CLEO.device_key))
    assert device.n is None
    device.take(0, theirs)
    assert device.n == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 1},
        {"n": 1 + limits.EPOCH_RATCHETS_MAX + 1},
        {"n": 2, "rm": [A]},
        {"n": 2, "rm": []},
    ],
)
def test_a_ratchet_accounts_for_what_the_first_of_its_line_does_and_has_a_later_number(wrong):
    first = MAKER.epoch(1, rm=[B], secret=b"p" * 32)
    device = Device()
    device.take(0, first, MAKER.epoch(**{"rm": [B], "parent": first, "to": [ANA], **wrong}))
    device.step(3)
    assert device.n == 1
    device.take(4, MAKER.ratchet(first, b"p" * 32))
    device.step(7)
    assert device.n == 2


def test_1024_ratchets_of_a_line_and_no_more():
    most = limits.EPOCH_RATCHETS_MAX
    first, secret = MAKER.epoch(1, secret=b"p" * 32), b"p" * 32
    for n in range(2, 2 + most):
        secret = keys.next_secret(secret, room=ROOM, epoch=n)
    device = Device()
    device.take(0, first, MAKER.epoch(1 + most, parent=first, secret=secret, to=[]))
    assert device.n == 1 + most  # worked out from the first, without a box
    assert device.epochs.ratchet() is None
    again = Device()
    again.take(0, first)
    assert again.epochs.ratchet() is not None


def test_a_ratchet_by_somebody_who_runs_no_room_moves_nobody():
    first = MAKER.epoch(1, secret=b"p" * 32)
    device = Device()
    device.void = {BEN.dev}
    device.take(0, first, Maker(BEN).ratchet(first, b"p" * 32))
    device.step(3)
    assert device.n == 1


def test_who_holds_one_before_it_needs_no_box_for_a_ratchet_whichever_comes_first():
    parent = MAKER.epoch(1, secret=b"p" * 32)
    second = MAKER.ratchet(parent, b"p" * 32)
    third = MAKER.ratchet(second, keys.next_secret(b"p" * 32, room=ROOM, epoch=2))
    device = Device()
    device.take(0, third, second)
    assert device.n is None
    device.take(0, parent)
    assert device.n == 3


def test_who_holds_none_before_it_needs_a_box_for_a_ratchet_and_to_know_who_made_the_first():
    first = MAKER.epoch(1, secret=b"p" * 32, to=[])
    device = Device()
    device.take(0, first, MAKER.ratchet(first, b"p" * 32))
    assert device.n is None
    device.take(0, MAKER.ratchet(first, b"p" * 32, to=[ANA]))
    assert device.n == 2
    other = Device()
    other.take(0, MAKER.ratchet(first, b"p" * 32, to=[ANA]))
    assert other.n is None
    other.take(0, first)
    assert other.n == 2


def test_two_keepers_who_ratchet_at_once_make_one_epoch():
    first = MAKER.epoch(1, secret=b"p" * 32)
    made = [Maker(who).ratchet(first, b"p" * 32).record for who in (BEN, CLEO)]
    assert len({epochs.read_outline(each).id for each in made}) == 1


def test_a_box_with_another_secret_than_all_others_got_is_no_secret():
    true = MAKER.epoch(1, to=[ANA])
    lie = replace(true.record, commit=keys.commit(b"another"))
    device = Device()
    device.take(0, envelope.sign(lie, CLEO.device_key))
    assert device.n is None


# ── removals ─────────────────────────────────────────────────────────────────────────────────


def test_more_removals_than_may_be_named_are_covered_by_their_digest_alone():
    most = limits.EPOCH_REMOVALS_MAX
    named = frozenset(removal(str(n)) for n in range(most))
    assert len(epochs.account_of(named)) == most
    more = named | {removal("one more")}
    (digest,) = epochs.account_of(more)
    assert digest == hashlib.sha256(b"".join(sorted(more))).digest()
    assert covers((digest,), more)
    assert not covers((digest,), named)
    assert not covers((digest,), more | {removal("and another")})


def test_removals_are_the_bans_and_removes_that_stand_and_all_revokes_that_count():
    book = Logbook(access=Access.CLOSED)
    ban = book.role(book.host, BEN, "ban")
    grant = book.grant(book.host, ANA, "moderator")
    remove = book.role(ANA, CLEO, "remove", auth=grant)
    book.role(book.host, person("dan"), "listener")
    assert epochs.removals(book.state) == {ban.id, remove.id}
    back = book.role(book.host, BEN, "listener", over=[ban], prev=ban)
    assert epochs.removals(book.state) == {remove.id}
    again = book.role(book.host, BEN, "ban", over=[back], prev=back)
    assert epochs.removals(book.state) == {remove.id, again.id}
    revoke = book.revoke(book.host, grant, pin=None)
    assert epochs.removals(book.state) == {again.id, revoke.id}


def test_nobody_is_given_an_epoch_that_says_it_is_without_him():
    book = Logbook(access=Access.CLOSED)
    ban = book.role(book.host, BEN, "ban")
    book.role(book.host, BEN, "listener", over=[ban], prev=ban)
    entries = {each.id: each.record for each in book.entries}
    assert not epochs.may_be_given((ban.id,), BEN.uid, NOBODY, entries.get)
    assert epochs.may_be_given((ban.id,), ANA.uid, NOBODY, entries.get)
    assert epochs.may_be_given((), BEN.uid, NOBODY, entries.get)
    # Nor is anybody by one who does not know whom it is without.
    assert not epochs.may_be_given((removal("unknown"),), ANA.uid, NOBODY, entries.get)


def test_an_epoch_that_names_a_digest_of_removals_is_given_by_who_knows_them_all():
    book = Logbook(access=Access.CLOSED)
    bans = [book.write(book.host, Act.ROLE, person(str(n)).uid, "ban") for n in range(257)]
    entries = {each.id: each.record for each in book.entries}
    removed = epochs.removals(book.state)
    rm = epochs.account_of(removed)
    assert len(rm) == 1
    assert epochs.may_be_given(rm, ANA.uid, removed, entries.get)
    assert not epochs.may_be_given(rm, person("7").uid, removed, entries.get)
    assert not epochs.may_be_given(rm, ANA.uid, removed - {bans[0].id}, entries.get)


def test_in_a_closed_room_a_person_without_a_role_or_put_out_is_not_admitted():
    book = Logbook(access=Access.CLOSED)
    assert not epochs.is_admitted(book.state, BEN.uid)
    entry = book.role(book.host, BEN, "listener")
    assert epochs.is_admitted(book.state, BEN.uid)
    for role in ("ban", "remove"):
        entry = book.role(book.host, BEN, role, over=[entry], prev=entry)
        assert not epochs.is_admitted(book.state, BEN.uid)
    assert epochs.runs_room(book.state, book.host.uid)
    assert not epochs.runs_room(book.state, BEN.uid)


# ── changing ─────────────────────────────────────────────────────────────────────────────────


def test_senders_change_two_seconds_after_a_new_epoch_and_hear_under_both_meanwhile():
    device = Device()
    device.take(0, MAKER.epoch(1))
    device.take(10, MAKER.epoch(2))
    assert (device.n, device.hears) == (1, {1, 2})
    assert device.epochs.deadline == 12
    device.step(11.9)
    assert device.n == 1
    assert device.step(12)
    assert device.n == 2


def test_on_a_removal_senders_change_at_once_or_fall_silent_and_still_hear_the_old():
    device = Device()
    device.take(0, MAKER.epoch(1))
    device.take(10, MAKER.epoch(2, rm=[A]))
    device.removed = frozenset({A})
    device.step(10.1)
    assert (device.n, device.hears) == (2, {1, 2})
    device.removed = frozenset({A, B})
    device.step(10.2)
    assert device.n is None
    assert device.hears == {1, 2}
    device.take(10.3, MAKER.epoch(3, rm=[A, B]))
    assert device.n == 3


def test_what_was_sent_under_before_is_heard_for_five_seconds_and_then_forgotten():
    device = Device()
    device.take(0, MAKER.epoch(1))
    device.take(10, MAKER.epoch(2))
    device.step(12)
    assert device.hears == {1, 2}
    assert device.epochs.deadline == 17
    device.step(16.9)
    assert device.hears == {1, 2}
    device.step(17)
    assert device.hears == {2}
    assert {live.n for live in device.epochs.held} == {2}
    assert math.isinf(device.epochs.deadline)


def test_media_is_given_two_keys_of_a_voice_at_most():
    device = Device()
    for n in range(5):
        device.take(n / 10, MAKER.epoch(n, rm=[A]))
        device.step(n / 10)
    assert len(device.epochs.receiving) == 2


def test_epochs_of_two_parts_of_a_room_with_one_number_are_both_heard():
    device = Device()
    device.take(0, MAKER.epoch(5), Maker(BEN).epoch(5))
    assert [known.outline.n for known in device.epochs.receiving] == [5, 5]


# ── making ───────────────────────────────────────────────────────────────────────────────────


def test_a_new_epoch_has_the_number_after_the_highest_that_counts():
    device = Device()
    device.take(0, MAKER.epoch(6), Maker(BEN).epoch(60))
    device.void = {BEN.dev}
    made, secret = device.epochs.make(frozenset({A}), device.counts, bytes)
    assert (made.n, made.ratchet, made.parent, made.rm) == (7, False, None, (A,))
    assert (secret, made.commit) == (bytes(32), keys.commit(bytes(32)))
    assert Device().epochs.make(NOBODY, device.counts, bytes)[0].n == 0


def test_a_ratchet_is_made_from_the_best_and_copies_its_removals():
    device = Device()
    device.take(0, MAKER.epoch(4, rm=[A, B], secret=b"p" * 32), MAKER.epoch(9, to=[]))
    made = device.epochs.ratchet()
    assert made is not None
    assert (made[0].n, made[0].rm) == (5, (A, B))
    assert made[1] == keys.next_secret(b"p" * 32, room=ROOM, epoch=5)
    assert Device().epochs.ratchet() is None


def test_500_devices_are_sealed_to_in_records_that_a_frame_holds():
    boxes = [EpochBox(bytes([n % 256] * 32), bytes(80)) for n in range(500)]
    made = epochs.outline(
        ROOM, by=CLEO.dev, n=65_535, parent=A, rm=tuple(map(RecordId, [bytes(32)] * 256)), commit=C
    )
    records = epochs.records_of(ROOM, CLEO.dev, made, boxes)
    assert sum(len(record.boxes) for record in records) == 500
    for record in records:
        signed = envelope.sign(record, CLEO.device_key)
        assert len(cbor.encode([9, [signed.data], []])) <= limits.ROOM_FRAME_BYTES_MAX
    (lone,) = epochs.records_of(ROOM, CLEO.dev, made, [])
    assert lone.boxes == ()


def test_the_id_of_an_epoch_is_of_what_all_its_records_say_alike():
    record = MAKER.epoch(3, rm=[B, A]).record
    body = cbor.encode([ROOM, CLEO.dev, 3, False, None, [A, B], record.commit])
    expected = hashlib.sha256(b"p2phouse/1/epoch-id\0" + body).digest()
    assert epochs.read_outline(record).id == expected
    other = replace(record, dev=BEN.dev, boxes=())
    assert epochs.read_outline(other).id == expected


# ── what no honest node sends ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "wrong",
    [
        {"ratchet": True},
        {"parent": A},
        {"rm": (B, A)},
        {"rm": (A, A)},
    ],
)
def test_a_record_that_cannot_be_is_refused(wrong):
    record = replace(MAKER.epoch(1).record, **wrong)
    device = Device()
    with pytest.raises(EpochRefused):
        device.take(0, envelope.sign(record, CLEO.device_key))


def test_8_epochs_of_one_signer_are_known():
    most = limits.EPOCHS_OF_ONE_MAX
    device = Device()
    device.take(0, Maker(BEN).epoch(3))
    for n in range(10, 10 + most + 1):
        assert device.take(0, MAKER.epoch(n, to=[])) is not None
    assert device.take(0, MAKER.epoch(9, to=[])) is None
    assert device.take(0, MAKER.epoch(10, to=[])) is None  # it has given way
    assert device.take(0, MAKER.epoch(11, to=[])) is None  # known
    assert device.n == 3  # of another's nothing was lost
