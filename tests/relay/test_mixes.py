"""A room by plain HTTP: one stream, whoever reads it, over real sockets and by the real mixer.

Media carries nothing here (stand_in_media.py): what is heard in a stream is in test_listen_webm.py.
"""

import io
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from itertools import pairwise

import av
import trio

from p2phouse.channel import Down, NewGuestRoom, Up
from p2phouse.guest import webm
from p2phouse.guest.across import Pairs
from p2phouse.guest.exchange import Reply, Request
from p2phouse.guest.facts import SealedRoom
from p2phouse.guest.resources import Guests
from p2phouse.guest.shards import MIXER, To
from p2phouse.guest.terms import RoomTerms
from p2phouse.media import MediaFailed
from p2phouse_relay import denials, mixes
from p2phouse_relay.daemon import Relay, running
from p2phouse_relay.denials import Denial
from p2phouse_relay.mixes import UNREAD_MAX, Listener, Mixes
from tests.guest.test_resources import Relay as Room
from tests.relay.test_relay import PLAIN, asked, relay

FILE = "/r/tea/listen.webm"
ASKS = replace(PLAIN.terms, rooms={"tea": RoomTerms(listen="a token for tea")})


class Reader:
    """Somebody who reads a stream over HTTP."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.heard = b""
        self.is_over = False

    async def reads_until(self, times: int) -> list[int]:
        """Once so many packets are there, or the end: the time of each in ms."""
        while not self.is_over and len(self.times()) < times:
            data = await self._stream.receive_some()
            self.heard += data
            self.is_over = not data
        return self.times()

    async def reads_to_the_end(self) -> None:
        while await self._stream.receive_some():
            pass

    def times(self) -> list[int]:
        if b"\x1f\x43\xb6\x75" not in self.heard:  # no cluster yet
            return []
        with av.open(io.BytesIO(self.body())) as container:
            packets = [each for each in container.demux() if each.size]
            return [round(each.pts * each.time_base * 1_000) for each in packets]

    def body(self) -> bytes:
        """Out of its chunks; the last may not be whole yet."""
        _, _, rest = self.heard.partition(b"\r\n\r\n")
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body += rest[: int(size or b"0", 16)]
            rest = rest[int(size or b"0", 16) + 2 :]
        return body


@asynccontextmanager
async def reading(its: Relay, path: str = FILE) -> AsyncIterator[Reader]:
    async with await trio.open_tcp_stream("127.0.0.1", its.http_port) as stream:
        await stream.send_all(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        yield Reader(stream)


@contextmanager
def mixes_of(guests: Guests, perform: Callable[[Iterable[To]], Awaitable[None]]) -> Iterator[Mixes]:
    """Of a relay without processes."""

    async def heard(shard: int, message: Up) -> None:
        pass

    with closing(Pairs((0, MIXER))) as pairs:
        yield Mixes(guests, perform, heard, pairs)


async def stuck(outputs: Iterable[To]) -> None:
    """No process takes anything."""
    await trio.sleep_forever()


async def people(its: Relay, many: int) -> None:
    """Waits until so many are in the room."""
    while sum(each.listeners for each in its.guests.rooms()) != many:  # noqa: ASYNC110 - untold
        await trio.sleep(0.02)


async def test_all_who_read_hear_one_stream_each_from_when_they_came():
    async with relay() as its, reading(its) as first:
        times = await first.reads_until(10)
        assert first.body().startswith(webm.header())
        assert [b - a for a, b in pairwise(times)] == [20] * (len(times) - 1)
        pid = its.mixes.pid
        async with reading(its) as second:
            late = await second.reads_until(5)
            assert second.body().startswith(webm.header())
            assert late[0] > times[0]
            assert its.mixes.pid == pid
            await people(its, 2)
        await people(its, 1)
        again = await first.reads_until(len(first.times()) + 10)
        assert late[0] in again


async def test_when_the_mixer_dies_the_stream_goes_on_in_time():
    async with relay() as its, reading(its) as reader:
        before = await reader.reads_until(5)
        assert its.mixes.pid is not None
        os.kill(its.mixes.pid, signal.SIGKILL)
        after = await reader.reads_until(len(before) + 30)
        assert not reader.is_over
        assert after == sorted(set(after))
        assert after[-1] - before[0] >= 20 * len(after)  # a hole where nobody mixed


async def test_a_mixer_that_will_not_live_leaves_nothing_of_who_heard_it(monkeypatch):
    """Their places are free, and whoever comes later begins a mix anew."""
    fails, told = trio.Event(), []

    class Failing:
        def __init__(self, *_, **__) -> None:
            pass

        async def run(self) -> None:
            await fails.wait()
            raise MediaFailed(count=5, seconds=30.0, status=1)

        async def send(self, message: Down) -> None:
            told.append(message)

    async def perform(outputs: Iterable[To]) -> None:
        for each in outputs:
            if each.shard == MIXER:
                await its.send(each.message)

    monkeypatch.setattr(mixes, "MediaProcess", Failing)
    monkeypatch.setattr(mixes, "FAILED_S", 0.0)
    guests = Room().guests
    with mixes_of(guests, perform) as its, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(its.run)
            request = Request("GET", FILE, {}, b"", "192.0.2.7")
            replies = [await its.reply(request) for _ in range(3)]
            streams = [each.stream for each in replies if each is not None and each.stream]
            assert guests.count == len(streams) == 3
            streams.pop().close()
            fails.set()
            for stream in streams:
                assert await stream.next() == webm.header()
                assert await stream.next() == b""
                stream.close()
            await its.tick()
            assert guests.count == 0
            told.clear()
            assert await its.reply(request) is not None
            assert any(isinstance(each, NewGuestRoom) for each in told)
            nursery.cancel_scope.cancel()


async def test_a_stream_ends_with_its_room_alone(tmp_path):
    """Not with a process that carries sound: the mixer is none of these."""
    with trio.fail_after(60):
        async with (
            running(replace(PLAIN, home=tmp_path)) as its,
            reading(its) as denied,
            reading(its, "/r/song/listen.webm") as other,
        ):
            await denied.reads_until(5)
            denials.write(tmp_path, [Denial("tea", "too loud", since=0.0)])
            await denied.reads_to_the_end()
            os.kill(its.media.pids[0] or 0, signal.SIGKILL)
            while not its.media.restarts:  # noqa: ASYNC110 - untold
                await trio.sleep(0.02)
            times = len(await other.reads_until(5))
            await other.reads_until(times + 20)
            assert not other.is_over
            assert its.guests.count == 1


async def test_who_may_not_listen_hears_nothing(caplog):
    caplog.set_level(logging.DEBUG)
    with trio.fail_after(60):
        async with running(replace(PLAIN, terms=replace(ASKS, guests_max=1))) as its:
            assert (await asked(its, "GET", FILE))[0] == 401
            assert (await asked(its, "GET", f"{FILE}?token=another"))[0] == 401
            assert (await asked(its, "GET", "/r/elsewhere/listen.webm"))[0] == 404
            assert (await asked(its, "POST", f"{FILE}?token=a+token+for+tea"))[0] == 405
            status, headers, body = await asked(its, "HEAD", f"{FILE}?token=a%20token%20for%20tea")
            assert (status, body) == (200, "")
            assert headers["content-type"] == "audio/webm"
            assert headers["cache-control"] == "no-store"
            assert headers["access-control-allow-origin"] == "*"
            assert its.guests.count == 0
            async with reading(its, f"{FILE}?token=a+token+for+tea") as reader:
                await reader.reads_until(5)
                status, headers, _ = await asked(its, "GET", f"{FILE}?token=a+token+for+tea")
                assert (status, headers["retry-after"]) == (503, "30")
            its.guests.carry("tea", SealedRoom())
            assert (await asked(its, "GET", f"{FILE}?token=a+token+for+tea"))[0] == 403
    assert "token for" not in caplog.text
    assert "token+for" not in caplog.text


async def test_who_is_sent_to_another_relay_takes_its_token_along():
    tea = RoomTerms(listen="a token for tea", also_at=("https://b.example",))
    guests = Room(replace(ASKS, rooms={"tea": tea}, guests_max=0)).guests
    with mixes_of(guests, stuck) as its:
        for query in ("token=a+token+for+tea", "token=a+token+for+tea&x"):
            reply = await its.reply(Request("GET", FILE, {}, b"", "192.0.2.7", query))
            assert reply is not None
            assert reply.status == 307
            assert dict(reply.headers)["location"] == f"https://b.example{FILE}?{query}&sent-on"


async def test_who_asks_again_and_again_leaves_places_for_others(monkeypatch):
    """Security: whoever is in front of the relay, and opens the connections."""
    monkeypatch.setattr(mixes, "OF_ONE_SOURCE_MAX", 2)

    async def perform(outputs: Iterable[To]) -> None:
        pass

    async def comes(source: str) -> Reply:
        reply = await its.reply(Request("GET", FILE, {}, b"", source))
        assert reply is not None
        return reply

    with mixes_of(Room().guests, perform) as its:
        first, second, third = [await comes("192.0.2.7") for _ in range(3)]
        assert (first.status, second.status, third.status) == (200, 200, 503)
        assert (await comes("192.0.2.8")).status == 200
        assert first.stream is not None
        first.stream.close()
        assert (await comes("192.0.2.7")).status == 200


async def test_who_is_given_up_before_the_answer_takes_no_place():
    guests = Room().guests
    with mixes_of(guests, stuck) as its:
        with trio.move_on_after(0) as scope:
            await its.reply(Request("GET", FILE, {}, b"", "192.0.2.7"))
        assert scope.cancelled_caught
        with trio.move_on_after(0):
            await its.tick()
        assert guests.count == 0


async def test_a_page_of_any_origin_may_show_its_token():
    async with relay() as its:
        status, headers, _ = await asked(its, "OPTIONS", FILE)
        assert status == 204
        assert "authorization" in headers["access-control-allow-headers"]
        assert "GET" in headers["access-control-allow-methods"]


async def test_who_reads_slowly_misses_what_is_old_and_holds_up_nobody():
    left: list[Listener] = []
    slow = Listener(1, "tea", "", left.append)
    for n in range(UNREAD_MAX + 5):
        slow.offer(b"%d," % n)
    with trio.fail_after(5):
        assert await slow.next() == webm.header() + b"20,21,22,23,24,"
        slow.offer(b"25,")
        assert await slow.next() == b"25,"
        slow.end()
        assert await slow.next() == b""
    slow.close()
    assert left == [slow]


async def test_there_is_one_such_place_in_a_room():
    async with relay() as its:
        for path in ("/r/tea/listen.mp3", "/r/tea/listen.webm/", "/listen.webm"):
            assert (await asked(its, "GET", path))[0] == 404
