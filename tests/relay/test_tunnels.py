"""The tunnel for nodes without UDP: who is let in, and what crosses it, at what pace."""

import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing
from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from p2phouse.channel import LocalDescription
from p2phouse.guest.exchange import Reply, Request
from p2phouse.guest.http import Front
from p2phouse.link import ice, tunnel
from p2phouse.vocabulary import LinkNumber
from p2phouse_relay import tunnels
from p2phouse_relay.tunnels import Tunnels
from tests.waits import until

LINK = LinkNumber(7)
PAGE = "https://audio.example.org:8443"
DESCRIPTION = LocalDescription(
    LINK, "ufrag", "pwd", bytes(32), ("what media's socket is bound to",)
)
ENTROPY = iter(range(1, 1 << 20))


def entropy(size: int) -> bytes:
    return next(ENTROPY).to_bytes(size, "big")


class Place:
    """A relay's front with its tunnels, and a socket where its media would be."""

    def __init__(self, port: int, tunnels: Tunnels, media: socket.socket):
        self.port = port
        self.tunnels = tunnels
        self.media = trio.socket.from_stdlib_socket(media)

    def token(self, link=LINK) -> str:
        return entrance(self.tunnels, trio.current_time(), link).token


def entrance(its: Tunnels, now_s: float, link: int = LINK) -> tunnel.Entrance:
    """As the other end of a link of the relay's is told."""
    told = its.reached(now_s, replace(DESCRIPTION, link=LinkNumber(link)))
    assert isinstance(told, LocalDescription)
    found = tunnel.read(told.cands[-1])
    assert found is not None
    return found


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as media:
        media.setblocking(False)
        media.bind(("127.0.0.1", 0))
        udp_port = media.getsockname()[1]
        its = Tunnels(PAGE, ("203.0.113.5",), "0.0.0.0", lambda: udp_port, entropy)

        async def answer(request: Request) -> Reply:
            return its.answer(trio.current_time(), request)

        plain = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = plain[0].socket.getsockname()[1]
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Front(answer).serve, plain)
                yield Place(port, its, media)
                nursery.cancel_scope.cancel()


class Node:
    """The other end of a tunnel, as plain as can be."""

    def __init__(self, stream: trio.SocketStream):
        self.stream = stream
        self.frames = ClientProtocol(parse_uri("ws://audio.example.org/ws/media"))

    async def enter(self, token: str) -> int:
        """The status of the answer."""
        request = self.frames.connect()
        request.headers["Authorization"] = f"Bearer {token}"
        self.frames.send_request(request)
        await self.flush()
        while not (events := await self.events()):
            pass
        status: int = events[0].status_code
        return status

    async def flush(self) -> None:
        await self.stream.send_all(b"".join(self.frames.data_to_send()))

    async def send(self, *datagrams: bytes) -> None:
        for each in datagrams:
            self.frames.send_binary(each)
        await self.flush()

    async def events(self):
        data = await self.stream.receive_some(65_536)
        if data:
            self.frames.receive_data(data)
        else:
            self.frames.receive_eof()
        return self.frames.events_received()

    async def heard(self, count: int) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < count:
            found += [bytes(each.data) for each in await self.events()]
        return found

    async def end(self) -> int | None:
        """The code with which the relay closed."""
        while self.frames.state is not State.CLOSED:
            await self.events()
        return self.frames.close_code


@asynccontextmanager
async def node(at: Place, source: str = "127.0.0.1") -> AsyncIterator[Node]:
    async with await trio.open_tcp_stream("127.0.0.1", at.port, local_address=source) as stream:
        yield Node(stream)


@asynccontextmanager
async def entered(at: Place, link: int = LINK) -> AsyncIterator[Node]:
    async with node(at) as its:
        assert await its.enter(at.token(link)) == 101
        yield its


async def test_datagrams_cross_both_ways_each_as_it_was():
    async with place() as at, entered(at) as ana:
        await ana.send(b"one", b"two" * 400)
        data, source = await at.media.recvfrom(2_000)
        assert data == b"one"
        assert await at.media.recv(2_000) == b"two" * 400
        await at.media.sendto(b"three", source)
        await at.media.sendto(b"four", source)
        assert await ana.heard(2) == [b"three", b"four"]


async def test_nobody_comes_in_without_a_token_of_a_link_or_with_it_twice():
    async with place() as at:
        token = at.token()
        for wrong in ("", token[:-1] + "g", "0" * 32):
            async with node(at) as eve:
                assert await eve.enter(wrong) == 401
        over = at.token(8)
        at.tunnels.forget(LinkNumber(8))
        async with node(at) as eve:
            assert await eve.enter(over) == 401
        async with node(at) as ana, node(at) as eve:
            assert await ana.enter(token) == 101
            assert await eve.enter(token) == 401


def test_a_node_is_told_where_the_relay_is_reached_and_not_where_it_is_bound():
    addresses = ("203.0.113.5", "2001:db8::5")
    its = Tunnels(PAGE, addresses, "0.0.0.0", lambda: 8478, entropy)
    way = entrance(its, 0.0)
    assert (way.host, way.port) == ("audio.example.org", 8_443)
    in_trial = Tunnels("", addresses, "127.0.0.1", lambda: 8478, entropy)
    told = in_trial.reached(0.0, DESCRIPTION)
    assert isinstance(told, LocalDescription)
    found = ice.read_candidates(told.cands, may_use=lambda ip: True)
    assert [(each.host, each.port) for each in found] == [(each, 8478) for each in addresses]
    assert found[0].priority > found[1].priority
    assert len(told.cands) == len(addresses)


def asking(token: str) -> Request:
    headers = {
        "upgrade": "websocket",
        "connection": "keep-alive, Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "authorization": f"Bearer {token}",
    }
    return Request("GET", tunnel.PATH, headers, b"", "192.0.2.1")


async def test_whose_link_is_over_before_the_answer_is_out_has_no_tunnel():
    its = Tunnels(PAGE, (), "127.0.0.1", lambda: 8478, entropy)
    reply = its.answer(1_000.0, asking(entrance(its, 1_000.0).token))
    its.forget(LINK)
    ours, _ = trio.testing.memory_stream_pair()
    assert reply.upgrade is not None
    with trio.fail_after(5):
        await reply.upgrade.talk(ours, b"")


def test_a_token_is_good_for_a_minute():
    its = Tunnels(PAGE, (), "127.0.0.1", lambda: 8478, entropy)
    request = asking(entrance(its, 1_000.0).token)
    assert its.answer(1_061.0, request).status == 401
    reply = its.answer(1_059.0, request)
    assert reply.status == 101
    assert (
        "sec-websocket-accept",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ) in reply.headers  # RFC 6455 §1.3
    for missing in ("upgrade", "connection", "sec-websocket-version", "sec-websocket-key"):
        without = {name: value for name, value in request.headers.items() if name != missing}
        asked = Request("GET", tunnel.PATH, without, b"", "192.0.2.1")
        assert its.answer(1_000.0, asked).status == 426


async def test_the_tunnels_of_one_address_and_of_all_are_bounded(monkeypatch):
    monkeypatch.setattr(tunnels, "OF_ONE_SOURCE_MAX", 1)
    monkeypatch.setattr(tunnels, "TUNNELS_MAX", 2)
    async with place() as at, entered(at):
        token = at.token(8)
        async with node(at) as eve:
            assert await eve.enter(token) == 503
        async with node(at, "127.0.0.2") as ben:
            assert await ben.enter(token) == 101
            async with node(at, "127.0.0.3") as carla:
                assert await carla.enter(at.token(9)) == 503


async def test_nothing_but_media_is_reached_or_heard():
    async with place() as at, entered(at) as ana:
        await ana.send(b"hello")
        _, source = await at.media.recvfrom(2_000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.sendto(b"from elsewhere", source)
        await at.media.sendto(b"from media", source)
        assert await ana.heard(1) == [b"from media"]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Frame(Opcode.TEXT, b"hello"), CloseCode.UNSUPPORTED_DATA),
        (Frame(Opcode.BINARY, b"half", fin=False), CloseCode.UNSUPPORTED_DATA),
        (Frame(Opcode.CONT, b"rest"), CloseCode.PROTOCOL_ERROR),
        (Frame(Opcode.BINARY, bytes(1_501)), CloseCode.MESSAGE_TOO_BIG),
        (Frame(Opcode.CLOSE, b""), CloseCode.NO_STATUS_RCVD),
    ],
    ids=lambda each: getattr(each, "name", None) or Opcode(each.opcode).name,
)
async def test_whoever_sends_what_is_no_datagram_is_sent_away(frame, code):
    async with place() as at, entered(at) as eve:
        eve.frames.send_frame(frame)
        await eve.flush()
        assert await eve.end() == code
        await until(lambda: not len(at.tunnels), "its place is free")


async def test_who_floods_is_carried_no_faster_than_a_stage_talks(monkeypatch):
    monkeypatch.setattr(tunnels, "PACKETS_AT_ONCE", 100)  # the socket here holds no more than 256
    came = 0

    async def count(media: trio.socket.SocketType) -> None:
        nonlocal came
        while True:
            await media.recv(2_000)
            came += 1

    async with place() as at, entered(at) as eve, trio.open_nursery() as nursery:
        nursery.start_soon(count, at.media)
        began_s = trio.current_time()
        await eve.send(*[b"%04d" % number for number in range(2_000)])
        # Whoever could have pongs without end is sent away.
        for _ in range(tunnels.PACKETS_AT_ONCE + 100):
            eve.frames.send_ping(b"")
        await eve.flush()
        assert await eve.end() == CloseCode.POLICY_VIOLATION
        took_s = trio.current_time() - began_s
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()
    most = tunnels.PACKETS_AT_ONCE + tunnels.PACKETS_PER_S * took_s + 1
    assert tunnels.PACKETS_AT_ONCE <= came <= most


async def test_nobody_is_sent_more_than_a_stage_talks(monkeypatch):
    monkeypatch.setattr(tunnels, "PACKETS_AT_ONCE", 50)
    monkeypatch.setattr(tunnels, "PACKETS_PER_S", 20)
    async with place() as at, entered(at) as ana, trio.open_nursery() as nursery:
        await ana.send(b"hello")
        _, source = await at.media.recvfrom(2_000)

        async def talk() -> None:
            while True:
                await at.media.sendto(b"word", source)
                await trio.sleep(0.002)

        nursery.start_soon(talk)
        began_s = trio.current_time()
        await ana.heard(60)
        assert trio.current_time() - began_s >= 0.45, "ten of them at twenty a second"
        nursery.cancel_scope.cancel()


async def test_who_says_nothing_or_takes_nothing_has_no_place(monkeypatch):
    """Security: places are few."""
    monkeypatch.setattr(tunnels, "STALLED_S_MAX", 0.3)
    async with place() as at, entered(at) as ana, trio.open_nursery() as nursery:
        ana.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1_024)
        await ana.send(b"hello")
        _, source = await at.media.recvfrom(2_000)

        async def talk() -> None:
            while True:
                await at.media.sendto(bytes(1_400), source)
                await trio.sleep(0.001)

        nursery.start_soon(talk)
        await until(lambda: not len(at.tunnels), "who takes nothing is gone")
        nursery.cancel_scope.cancel()
    monkeypatch.setattr(tunnels, "IDLE_S_MAX", 0.2)
    async with place() as at, entered(at) as ben:
        assert await ben.end() == CloseCode.ABNORMAL_CLOSURE


async def test_who_reads_slowly_hears_what_is_new_when_it_reads_again():
    """And what would have come late is lost, as over UDP; nothing waits for it."""
    async with place() as at, entered(at) as ana:
        await ana.send(b"hello")
        _, source = await at.media.recvfrom(2_000)
        ana.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1_024)
        sent = 0

        async def talk(packets: float) -> None:
            nonlocal sent
            while sent < packets:
                for _ in range(6):
                    sent += 1
                    await at.media.sendto(b"%06d" % sent + bytes(1_200), source)
                await trio.sleep(0.01)

        await talk(240)  # 290 kB: more than the system holds for it
        unread = sent
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, math.inf)
            heard = [0]
            while heard[-1] < unread + 60:
                heard += [int(each[:6]) for each in await ana.heard(1)]
            nursery.cancel_scope.cancel()
        assert heard == sorted(heard)
        assert sum(each <= unread for each in heard) < unread


async def test_when_the_link_is_over_so_is_its_tunnel():
    async with place() as at, entered(at) as ana:
        at.tunnels.forget(LINK)
        with trio.fail_after(5):
            while await ana.stream.receive_some():
                pass
        assert not len(at.tunnels)
