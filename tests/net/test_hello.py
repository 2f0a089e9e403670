"""hello: who listens here, and no more than was asked."""

import logging
import os
import random
import socket as stdlib_socket
from contextlib import asynccontextmanager
from functools import partial

import nacl.signing
import pytest
import trio

from p2phouse.net import hello
from p2phouse.net.faults import Faults
from p2phouse.record import envelope
from p2phouse.record.types import Hello
from p2phouse.vocabulary import DeviceKey, Now

KEY = nacl.signing.SigningKey(bytes(31) + b"\x07")
DEV = DeviceKey(bytes(KEY.verify_key))
LOOPBACK = bytes.fromhex("047f00000106") + (4_000).to_bytes(2, "big")


class Clock:
    def __init__(self):
        self.mono = 0.0

    def __call__(self):
        return Now(self.mono, 0.0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def answerer(clock):
    return hello.HelloAnswerer(KEY, addrs=lambda: [LOOPBACK], clock=clock, faults=Faults())


def datagram():
    return hello.request(os.urandom)[1]


@asynccontextmanager
async def answering(serve):
    """A UDP socket on loopback that `serve` answers on; yields its port."""
    with stdlib_socket.socket(stdlib_socket.AF_INET, stdlib_socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.1", 0))
        plain.setblocking(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, trio.socket.from_stdlib_socket(plain))
            yield plain.getsockname()[1]
            nursery.cancel_scope.cancel()


def test_an_answer_proves_its_key_and_its_freshness(answerer):
    nonce, asked = hello.request(os.urandom)
    answer = answerer.answer(asked, "192.0.2.1")
    read = hello.check(answer, nonce)
    assert (read.dev, read.addrs, read.versions) == (DEV, (LOOPBACK,), hello.VERSIONS)
    with pytest.raises(hello.WrongReply):
        hello.check(answer, os.urandom(64))


def test_an_answer_is_never_longer_than_the_question(clock):
    addrs = [os.urandom(64) for _ in range(4)]
    answerer = hello.HelloAnswerer(KEY, addrs=lambda: addrs, clock=clock, faults=Faults())
    answer = answerer.answer(datagram(), "192.0.2.1")
    assert answer is not None
    assert len(answer) <= hello.REQUEST_BYTES


@pytest.mark.parametrize("size", [0, 64, 511, 513, 1_400])
def test_a_question_of_another_size_gets_silence(answerer, size):
    assert answerer.answer(bytes(size), "192.0.2.1") is None


def test_a_question_with_another_padding_gets_silence(answerer):
    assert answerer.answer(datagram()[:-1] + b"\x01", "192.0.2.1") is None


def test_an_answer_sent_back_as_a_question_gets_silence(answerer):
    answer = answerer.answer(datagram(), "192.0.2.1")
    assert answerer.answer(answer.ljust(512, b"\0"), "192.0.2.1") is None


def test_one_source_gets_ninety_answers_in_a_burst_then_twenty_a_second(answerer, clock):
    for _ in range(int(hello.ANSWERS_BURST)):
        assert answerer.answer(datagram(), "192.0.2.1")
    assert answerer.answer(datagram(), "192.0.2.1") is None
    assert answerer.answer(datagram(), "192.0.2.2"), "another source is not held by it"
    clock.mono += 1.0
    got = [answerer.answer(datagram(), "192.0.2.1") is not None for _ in range(21)]
    assert got == [True] * int(hello.ANSWERS_A_SECOND) + [False]


def test_sources_that_anybody_can_invent_share_two_hundred_answers_a_second(answerer):
    got = [
        answerer.answer(datagram(), f"203.0.{number // 250}.{number % 250}") is not None
        for number in range(201)
    ]
    assert got == [True] * 200 + [False]


async def test_two_thousand_pieces_of_garbage_leave_hello_answering(answerer):
    rng = random.Random(3)
    async with answering(answerer.serve_udp) as port:
        with stdlib_socket.socket(stdlib_socket.AF_INET, stdlib_socket.SOCK_DGRAM) as sender:
            for number in range(2_000):
                size = 512 if number % 2 else rng.randrange(1_400)
                sender.sendto(rng.randbytes(size), ("127.0.0.1", port))
                if number % 50 == 0:
                    await trio.lowlevel.checkpoint()
        heard, ip = await hello.ask("127.0.0.1", port, entropy=os.urandom)
    assert (heard.dev, ip) == (DEV, "127.0.0.1")


def test_noise_uses_up_nobodys_answers(answerer):
    for _ in range(1_000):
        answerer.answer(os.urandom(512), "192.0.2.1")
    assert answerer.answer(datagram(), "192.0.2.1")


async def test_a_host_name_is_asked_at_each_of_its_addresses(answerer):
    async with answering(answerer.serve_udp) as port:
        heard, _ = await hello.ask("localhost", port, entropy=os.urandom)
    assert heard.dev == DEV


def forged(data):
    return data[:-1] + bytes([data[-1] ^ 1])


async def answer_wrongly(socket, make_answer):
    with socket:
        while True:
            asked, source = await socket.recvfrom(600)
            await socket.sendto(make_answer(asked[:64]), source)


@pytest.mark.parametrize(
    "make_answer",
    [
        lambda nonce: b"",
        lambda nonce: os.urandom(300),
        lambda nonce: os.urandom(513),
        lambda nonce: envelope.sign(Hello(os.urandom(64), (1, 1), DEV, ()), KEY).data,
        lambda nonce: forged(envelope.sign(Hello(nonce, (1, 1), DEV, ()), KEY).data),
    ],
    ids=["nothing", "junk", "too long", "an old answer", "a forged one"],
)
async def test_a_wrong_answer_is_no_answer(make_answer):
    async with answering(partial(answer_wrongly, make_answer=make_answer)) as port:
        with pytest.raises(hello.NobodyAnswers):
            await hello.ask("127.0.0.1", port, entropy=os.urandom, try_s=0.05, tries=2)


@pytest.mark.parametrize(
    ("theirs", "sentence"),
    [
        ((2, 4), "That node speaks version 2 to 4 of the protocol and this one version 1. "
                 "Update p2phouse on this machine."),
        ((0, 0), "That node speaks version 0 of the protocol and this one version 1. "
                 "Update p2phouse on the other machine."),
    ],
)  # fmt: skip
async def test_versions_that_do_not_meet_are_one_sentence(theirs, sentence):
    def make_answer(nonce):
        return envelope.sign(Hello(nonce, theirs, DEV, ()), KEY).data

    async with answering(partial(answer_wrongly, make_answer=make_answer)) as port:
        with pytest.raises(hello.VersionsApart) as raised:
            await hello.ask("127.0.0.1", port, entropy=os.urandom)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("theirs", [(1, 1), (0, 1), (1, 9), (0, 9)])
def test_ranges_that_share_a_version_meet(theirs):
    hello.check_versions(Hello(bytes(64), theirs, DEV, ()))


@pytest.mark.parametrize("port", [0, -1, 65_536, 99_999])
async def test_a_port_that_is_none_is_one_sentence(port):
    with pytest.raises(hello.NobodyAnswers, match="Nobody answered"):
        await hello.ask("127.0.0.1", port, entropy=os.urandom)


@pytest.mark.parametrize("host", ["no such host", "x" * 300, "\N{SNOWMAN}.invalid", ""])
async def test_a_name_nobody_knows_is_one_sentence(host):
    with pytest.raises((hello.NoSuchHost, hello.NobodyAnswers)):
        await hello.ask(host, 4_000, entropy=os.urandom, try_s=0.02, tries=1)


async def test_who_is_not_up_yet_is_found_by_a_later_try(answerer):
    with stdlib_socket.socket(stdlib_socket.AF_INET, stdlib_socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.1", 0))
        port = plain.getsockname()[1]
    async with trio.open_nursery() as nursery:

        async def ask():
            heard, _ = await hello.ask("127.0.0.1", port, entropy=os.urandom, tries=10)
            assert heard.dev == DEV
            nursery.cancel_scope.cancel()

        nursery.start_soon(ask)
        await trio.sleep(0.2)  # past the first question, which meets a closed port
        late = trio.socket.socket(stdlib_socket.AF_INET, stdlib_socket.SOCK_DGRAM)
        await late.bind(("127.0.0.1", port))
        nursery.start_soon(answerer.serve_udp, late)


def test_garbage_fills_no_log(answerer, caplog):
    caplog.set_level(logging.WARNING)
    for _ in range(500):
        answerer.answer(b"junk", "192.0.2.77")
    assert len(caplog.records) == 3
    assert "192.0.2.77" not in caplog.text
