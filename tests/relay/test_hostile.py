"""Whatever a stranger sends on the protocol of relays, the relay lives and carries on."""

import random

import pytest
import trio

from p2phouse.hall import relay_ask
from p2phouse.hall.relay_ask import AskPolicy
from p2phouse.net.relay_asks import PROTOCOL
from p2phouse.record import cbor, limits
from tests.net.stranger import stranger
from tests.record import samples
from tests.relay.test_carrying import people, relay

QUESTION = relay_ask.write(AskPolicy())


def framed(body: bytes, size: int | None = None) -> bytes:
    return (len(body) if size is None else size).to_bytes(4, "big") + body


JUNK = [
    b"",
    b"\0\0",
    framed(b""),
    framed(b"\xff" * 600),
    framed(b"", size=2**32 - 1),
    framed(bytes(limits.RELAY_ASK_BYTES_MAX + 1)),
    framed(QUESTION, size=len(QUESTION) + 9),
    framed(cbor.encode([1, 1, b"\0" * 512, [], b""])),
    framed(cbor.encode([1, 1, samples.SIGNED_GENESIS.data, [b"\xff" * 64] * 4, b""])),
    framed(cbor.encode([1, 7])),
    framed(QUESTION) * 3,
]


class Whom:
    """The relay as a stranger dials it."""

    def __init__(self, its) -> None:
        self.network = its.network
        self.dev = its.me.dev


async def send(eve, node, data: bytes) -> bytes:
    """What comes back before the relay ends the stream."""
    told = b""
    with trio.move_on_after(12):
        try:
            stream = await eve.open(node, PROTOCOL)
            await stream.write(data)
            await stream.close_write()
            while got := await stream.read(4_096):
                told += got
        except Exception:
            return told  # ended already, or refused: libp2p has many names for it
    return told


async def still_answers(its, folder) -> None:
    async with people(folder, "honest") as (honest,):
        found = await honest.relays.look(f"127.0.0.1:{its.network.port}")
        assert found.uid == its.me.uid
    assert its.network.counters["host_died"] == 0
    assert not its.stays


async def test_junk_is_answered_by_nobody_and_ends_nothing(tmp_path):
    async with relay(tmp_path) as its, stranger() as eve:
        node = Whom(its)
        await eve.connect(node)
        for data in JUNK[:-1]:
            assert await send(eve, node, data) == b""
        await still_answers(its, tmp_path)


@pytest.mark.slow
async def test_mutants_of_true_questions_end_nothing(tmp_path):
    rng = random.Random(7)
    async with relay(tmp_path) as its:
        node = Whom(its)
        for _ in range(4):
            async with stranger() as eve:
                await eve.connect(node)
                for _ in range(8):
                    data = bytearray(framed(QUESTION) + rng.randbytes(rng.randrange(40)))
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                    await send(eve, node, bytes(data))
        await still_answers(its, tmp_path)


async def test_who_asks_without_end_is_refused_and_costs_nobody_else_his_answer(tmp_path):
    """Security: each question costs a signature."""
    async with relay(tmp_path) as its, stranger() as eve:
        node = Whom(its)
        await eve.connect(node)
        answers = [await send(eve, node, framed(QUESTION)) for _ in range(16)]
        assert 8 <= sum(map(bool, answers)) <= 10
        assert its.network.counters["streams_too_fast"] >= 6
        await still_answers(its, tmp_path)
