"""What keys of a sealed room cost: one new epoch for so many members, and the seal of a frame.

Nothing is sent: at the keeper a secret is made, sealed to each and signed; at a member its records
are read, checked and its box opened. Beside it stand libsodium's own sealed boxes and AES-GCM by
itself, of the same run. CPU time, best of several rounds.
"""

import os
import random
import time
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.public import PublicKey, SealedBox

from bench.figures import Figure
from p2phouse.identity.keys import Me, make_identity
from p2phouse.record import envelope
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Epoch, EpochBox
from p2phouse.room import epochs, keys
from p2phouse.room.epochs import Epochs
from p2phouse.vocabulary import DeviceKey, Now, RoomId
from p2phouse.voice.seal import SealKey, open_sealed, seal

NAME = "keys"

ROUNDS: Final = 5
FRAMES: Final = 2_000
FRAME_BYTES: Final = 80  # of Opus at 32 kb/s
ROOM: Final = RoomId(bytes(range(32)))
NOW: Final = Now(0.0, 1_800_000_000.0)


def best_ms(measured: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        measured()
        best = min(best, (time.process_time_ns() - started) / 1e6)
    return best


def people(count: int) -> list[Me]:
    rng = random.Random(count)
    return [make_identity(now=NOW, entropy=rng.randbytes) for _ in range(count)]


def new_epoch(keeper: Me, members: list[Me]) -> list[Signed[Epoch]]:
    """All records of an epoch for these members, as a keeper makes them on a removal."""
    known = Epochs(ROOM, keeper.dev)
    made, secret = known.make(frozenset(), lambda _: True, os.urandom)
    boxes = []
    for member in members:
        sealed = keys.seal(secret, bytes(member.seal_key.public_key), os.urandom)
        assert sealed is not None
        boxes.append(EpochBox(member.dev, sealed))
    records = epochs.records_of(ROOM, keeper.dev, made, boxes)
    return [envelope.sign(record, keeper.device_key) for record in records]


def change_of(count: int) -> list[Figure]:
    keeper, *members = people(count + 1)
    records = new_epoch(keeper, members)
    size = sum(len(record.data) for record in records)
    last = members[-1]

    def plain() -> object:
        boxes = [SealedBox(PublicKey(bytes(each.seal_key.public_key))) for each in members]
        return [box.encrypt(bytes(32)) for box in boxes]

    def take() -> None:
        known = Epochs(ROOM, DeviceKey(last.dev))
        for record in records:
            signed = envelope.read(record.data, Epoch)
            known.take(NOW, signed, lambda box: keys.open_box(last.seal_key, box))
        known.step(NOW, frozenset(), lambda _: True)
        assert known.sending is not None

    reference = "libsodium's sealed boxes alone, ms"
    made, alone, taken = (
        best_ms(lambda: new_epoch(keeper, members)),
        best_ms(plain),
        best_ms(take),
    )
    note = f"{count} members, {len(records)} records, best of {ROUNDS}"
    return [
        Figure(
            f"epoch for {count}: make, seal, sign",
            round(made, 2),
            "ms",
            "< 50" if count <= 50 else "< 300",
            reference,
            round(alone, 2),
            note,
        ),
        Figure(f"epoch for {count}: of sealed boxes alone", round(made / alone, 2), "×", "≤ 1.5"),
        Figure(f"epoch for {count}: read and open at a member", round(taken, 2), "ms", "< 20"),
        Figure(f"epoch for {count}: all records", size, "B"),
        Figure(f"epoch for {count}: a member's share", round(size / count), "B"),
    ]


def frame_costs() -> list[Figure]:
    base, opus = os.urandom(16), os.urandom(FRAME_BYTES)
    bare = AESGCM(os.urandom(16))
    opener = SealKey(0x73, base)
    sealed = [seal(SealKey(0x73, base), counter, opus) for counter in range(FRAMES)]
    last = {0x73: (SealKey(0x73, os.urandom(16)), opener)}  # two epochs share the KID

    def seal_all() -> None:
        sealer = SealKey(0x73, base)
        for counter in range(FRAMES):
            seal(sealer, counter, opus)

    def us(measured: Callable[[], object]) -> float:
        return round(best_ms(measured) / FRAMES * 1_000, 2)

    def bare_all() -> None:
        for counter in range(FRAMES):
            bare.encrypt(counter.to_bytes(12), opus, b"1234")

    alone = us(bare_all)
    reference = "bare AES-GCM, µs"
    own = {0x73: (opener,)}
    sealing = us(seal_all)
    opening = us(lambda: [open_sealed(own, data) for data in sealed])
    second = us(lambda: [open_sealed(last, data) for data in sealed])
    note = f"{FRAME_BYTES} B of Opus"
    return [
        Figure("seal of a frame", sealing, "µs", "< 20", reference, alone, note),
        Figure("opening of a frame", opening, "µs", "< 20", reference, alone, note),
        Figure("opening by the second of two keys", second, "µs", "< 30", reference, alone, note),
        Figure("bytes that a seal adds", len(sealed[-1]) - FRAME_BYTES, "B", "≤ 21"),
    ]


def run() -> list[Figure]:
    secret = os.urandom(32)
    step = best_ms(lambda: [keys.next_secret(secret, room=ROOM, epoch=n) for n in range(1_000)])
    return [
        *change_of(50),
        *change_of(500),
        Figure("a ratchet's secret", round(step, 2), "µs", "< 50"),
        *frame_costs(),
    ]
