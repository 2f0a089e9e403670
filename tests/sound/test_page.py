import asyncio
import logging
import socket
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection

from p2phouse.sound import page as page_module
from p2phouse.sound.ear import Ear, open_sink
from p2phouse.sound.mouth import Mouth, open_source
from p2phouse.sound.page import (
    AWAITED_TICKS,
    FRAME_BYTES,
    HELD_SAMPLES_MAX,
    KNOCKS_MAX,
    MESSAGE_BYTES_MAX,
    PIECE_BYTES,
    UNSENT_BYTES_MAX,
    Page,
)
from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES
from tests.sound.local_page import (
    HANDSHAKE,
    ORIGIN,
    TOKEN,
    frame_of,
    knock,
    let_in,
    message,
    page_socket,
    secrets,
    status,
    until,
    word,
)
from tests.sound.places import Told
from tests.voice.speech import noise, tone

DOC = (Path(__file__).parents[2] / "docs/page-sound.md").read_text()
CLOSED = "The page with the microphone was closed. Open it again: p2phouse page."


async def close_code(client: ClientConnection) -> int:
    """With which code the node closes the connection; what it says before is passed over."""
    async with asyncio.timeout(20):
        await client.wait_closed()
    assert client.close_code is not None
    return client.close_code


# ── who comes in ─────────────────────────────────────────────────────────────────────────────

REQUESTS = [
    (101, {}),
    (101, {"Host": "localhost:{port}"}),
    (421, {"Host": "p2phouse.example:{port}"}),
    (421, {"Host": "127.0.0.1.p2phouse.example:{port}"}),
    (421, {"Host": "127.0.0.1:{other}"}),
    (421, {"Host": "127.0.0.1"}),
    (421, {"Host": "[::1]:{port}"}),
    (400, {"Host": None}),
    (400, {"Host": ["127.0.0.1:{port}", "127.0.0.1:{port}"]}),
    (403, {"Origin": "http://p2phouse.example"}),
    (403, {"Origin": "http://127.0.0.1:{port}"}),  # another page of this machine, the wrong port
    (403, {"Origin": "https://127.0.0.1:5555"}),
    (403, {"Origin": ORIGIN + ".p2phouse.example"}),
    (403, {"Origin": "null"}),
    (403, {"Origin": ""}),
    (403, {"Origin": None}),
    (403, {"Origin": [ORIGIN, ORIGIN]}),
    (404, {"path": "/"}),
    (404, {"path": "/sound/"}),
    (426, {"Upgrade": None}),
]


@pytest.mark.parametrize(("answer", "changes"), REQUESTS, ids=lambda it: str(it))
def test_only_our_page_s_requests_are_answered(answer, changes):
    async def ask() -> None:
        async with page_socket() as (page, port):

            def filled(value):
                if isinstance(value, list):
                    return [filled(one) for one in value]
                return value.format(port=port, other=port ^ 1)

            headers = {"Host": f"127.0.0.1:{port}", **HANDSHAKE}
            path = changes.get("path", "/sound")
            for name, value in changes.items():
                headers.pop(name, None)
                if value is not None and name != "path":
                    headers[name] = filled(value)
            assert await status(port, headers, f"GET {path}") == answer
            assert page.connection is None  # before the token nobody is

    asyncio.run(ask())


def test_it_listens_on_this_machine_alone():
    async def ask() -> None:
        async with page_socket() as (_, port):
            for address in ("127.0.0.2", "::1"):
                with pytest.raises(OSError):
                    await asyncio.open_connection(address, port)

    asyncio.run(ask())


@pytest.mark.parametrize(
    "first",
    [
        word(bytes(32)),
        word()[:-1],
        word() + "=",
        word().upper(),
        TOKEN.hex(),
        "",
        "é",
        word().encode(),  # as bytes: no text
        bytes(FRAME_BYTES),
        None,  # nothing at all, for two seconds
    ],
    ids=repr,
)
def test_who_does_not_know_the_token_is_turned_away(first):
    async def ask() -> None:
        async with page_socket() as (page, port), knock(port) as client:
            if first is not None:
                await client.send(first)
            assert await close_code(client) == 4401
            assert page.connection is None
            assert len(page.said) == 0

    asyncio.run(ask())


def test_a_guess_does_not_disturb_the_page_that_is_there():
    async def ask() -> None:
        async with page_socket() as (page, port), let_in(port) as ours:
            async with knock(port) as client:
                await client.send(word(secrets()))
                assert await close_code(client) == 4401
            page.play(tone(0))
            assert np.allclose(frame_of(await ours.recv()), tone(0), atol=1e-4)

    asyncio.run(ask())


def test_the_token_is_in_no_log(caplog):
    async def ask() -> None:
        async with page_socket() as (_, port):
            async with let_in(port):
                pass
            async with knock(port) as client:
                await client.send(word(bytes(32)))
                assert await close_code(client) == 4401

    with caplog.at_level(logging.DEBUG):
        asyncio.run(ask())
    written = "\n".join(record.getMessage() for record in caplog.records)
    assert "page_here" in written
    assert "page_refused" in written
    for secret in (word(), TOKEN.hex(), repr(TOKEN), word(bytes(32))):
        assert secret not in written
        assert secret[:12] not in written


def test_a_new_token_turns_out_the_page_that_knew_the_old_one():
    async def ask() -> None:
        async with page_socket() as (page, port), let_in(port) as old:
            newer = secrets()
            assert await page.open(newer, "http://127.0.0.1:6666") == port
            assert await close_code(old) == 4401
            assert page.connection is None
            headers = {"Host": f"127.0.0.1:{port}", **HANDSHAKE}
            assert await status(port, headers) == 403
            async with knock(port, "http://127.0.0.1:6666") as client:
                await client.send(word())
                assert await close_code(client) == 4401
            async with let_in(port, newer, origin="http://127.0.0.1:6666"):
                assert page.connection is not None

    asyncio.run(ask())


def test_two_who_open_it_at_once_get_one_socket():
    async def ask() -> None:
        page = Page(lambda bug: None)
        ports = await asyncio.gather(*(page.open(TOKEN, ORIGIN) for _ in range(3)))
        assert len(set(ports)) == 1
        await page.close()

    asyncio.run(ask())


# ── what comes in ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sent", "code", "counted"),
    [
        (bytes(PIECE_BYTES - 1), 4400, 1),
        (bytes(PIECE_BYTES + 2), 4400, 1),
        (bytes(FRAME_BYTES - 1), 4400, 1),
        (bytes(FRAME_BYTES + 1), 4400, 1),
        (bytes(2 * FRAME_BYTES), 4400, 1),
        (b"", 4400, 1),
        ("unmute", 4400, 1),
        ("x" * FRAME_BYTES, 4400, 1),
        (bytes(MESSAGE_BYTES_MAX), 4400, 1),
        (bytes(MESSAGE_BYTES_MAX + 1), 1009, 0),  # not even read
    ],
    ids=lambda it: f"{type(it).__name__}-{it if isinstance(it, int) else len(it)}",
)
def test_what_is_no_frame_ends_the_connection(sent, code, counted):
    async def ask() -> None:
        async with page_socket() as (page, port), let_in(port) as client:
            await client.send(message(tone(0)))
            await client.send(sent)
            assert await close_code(client) == code
            assert page.bad_messages == counted
            await until(lambda: page.connection is None)
            assert len(page.said) == FRAME_SAMPLES  # the good frame before it, and no more

    asyncio.run(ask())


def test_the_newer_of_two_pages_has_the_sound():
    async def ask() -> None:
        async with page_socket() as (page, port), let_in(port) as older, let_in(port) as newer:
            assert await close_code(older) == 4409
            page.play(tone(3))
            assert np.allclose(frame_of(await newer.recv()), tone(3), atol=1e-4)
            await newer.send(message(tone(4)))
            await until(lambda: len(page.said))

    asyncio.run(ask())


def test_what_the_older_page_still_says_is_not_taken():
    async def ask() -> None:
        async with page_socket() as (page, port), let_in(port) as older:
            first = page.connection
            # It is deaf to its closing: a socket that goes on sending, as a page that hangs would.
            transport = older.transport
            transport.pause_reading()
            async with let_in(port) as newer:
                await until(lambda: page.connection is not first)
                for _ in range(20):
                    older.protocol.send_binary(message(tone(7)))
                    transport.write(b"".join(older.protocol.data_to_send()))
                await newer.send(message(tone(4)))
                await until(lambda: len(page.said))
                taken = page.said.take(FRAME_SAMPLES)
                assert taken is not None
                assert np.allclose(taken, tone(4), atol=1e-4)
            transport.abort()

    asyncio.run(ask())


def test_a_flood_of_frames_leaves_the_newest_200_ms():
    async def ask() -> None:
        async with page_socket() as (page, port), let_in(port) as client:
            frames = [noise(n) for n in range(400)]
            for frame in frames:
                await client.send(message(frame))
                assert len(page.said) <= HELD_SAMPLES_MAX
            last = np.concatenate(frames[-10:])
            await client.send(b"")  # is counted once all before it is read
            await until(lambda: page.bad_messages)
            held = page.said.take(HELD_SAMPLES_MAX)
            assert held is not None
            assert np.allclose(held, last, atol=1e-4)
            assert page.said.take(1) is None

    asyncio.run(ask())


def test_a_page_that_does_not_read_misses_frames_and_hears_the_next_in_time():
    async def ask() -> None:
        async with page_socket() as (page, port):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
            raw.setblocking(False)
            await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
            async with let_in(port, sock=raw) as slow:
                slow.transport.pause_reading()
                assert page.connection is not None
                for n in range(500):  # ten seconds
                    page.play(tone(n))
                    await asyncio.sleep(0)
                    unsent = page.connection.transport.get_write_buffer_size()
                    assert unsent <= UNSENT_BYTES_MAX
                assert page.unread_frames > 400
                slow.transport.resume_reading()
                heard = [frame_of(await slow.recv()) for _ in range(500 - page.unread_frames)]
                for n, frame in enumerate(heard):
                    assert np.allclose(frame, tone(n), atol=1e-4)
                page.play(noise(1))
                assert np.allclose(frame_of(await slow.recv()), noise(1), atol=1e-4)

    asyncio.run(ask())


def test_silent_callers_do_not_keep_the_page_out():
    async def ask() -> None:
        async with page_socket() as (_, port):
            callers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(KNOCKS_MAX)]
            async with let_in(port):
                # The oldest gave way, the others have their two seconds.
                assert await callers[0][0].read() == b""
                assert not any(reader.at_eof() for reader, _ in callers[1:])
            for reader, writer in callers:
                async with asyncio.timeout(10):
                    assert await reader.read() == b""
                writer.close()

    asyncio.run(ask())


def test_the_page_that_is_in_is_no_longer_among_those_who_knock():
    async def ask() -> None:
        async with page_socket() as (page, port), let_in(port) as ours:
            callers = [
                await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * KNOCKS_MAX)
            ]
            page.play(tone(0))
            assert np.allclose(frame_of(await ours.recv()), tone(0), atol=1e-4)
            for _, writer in callers:
                writer.transport.abort()

    asyncio.run(ask())


def test_a_bug_is_told_and_not_outlived():
    class Broken:
        def put(self, sound):
            raise ZeroDivisionError

    async def ask() -> None:
        bugs: list[Exception] = []
        page = Page(bugs.append)
        page.said = Broken()  # type: ignore[assignment]
        port = await page.open(TOKEN, ORIGIN)
        assert port
        async with let_in(port) as client:
            await client.send(message(tone(0)))
            await until(lambda: bugs)
        assert isinstance(bugs[0], ZeroDivisionError)
        await page.close()

    asyncio.run(ask())


# ── the page as mouth and ear ────────────────────────────────────────────────────────────────


def mouth_of(page: Page) -> tuple[Mouth, Told]:
    told = Told()
    return Mouth(told, lambda spec, is_wanted: open_source(spec, is_wanted, page)), told


def test_what_the_page_says_is_spoken_in_order_and_whole():
    async def speak() -> None:
        async with page_socket() as (page, port), let_in(port) as client:
            mouth, told = mouth_of(page)
            await mouth.set("page")
            for n in range(5):
                silent = mouth.frame(100.0 + n * FRAME_S)
                assert silent is not None
                assert not silent.any()  # the page has sent nothing yet
            spoken = []
            for n in range(20):
                held = len(page.said)
                await client.send(message(tone(n)))
                await until(lambda held=held: len(page.said) > held)
                frame = mouth.frame(101.0 + n * FRAME_S)
                assert frame is not None
                spoken.append(frame)
            assert not spoken[0].any()  # one is kept, against jitter
            for n, frame in enumerate(spoken[1:]):
                assert np.allclose(frame, tone(n), atol=1e-4)
            assert told == [("INPUT_STARTED", "")]

    asyncio.run(speak())


def test_what_was_said_before_the_mouth_opened_is_never_spoken():
    async def speak() -> None:
        async with page_socket() as (page, port), let_in(port) as client:
            mouth, _ = mouth_of(page)
            for n in range(5):
                await client.send(message(noise(n)))
            await until(lambda: len(page.said) == 5 * FRAME_SAMPLES)
            await mouth.set("page")
            for n in range(3):
                await client.send(message(tone(n)))
            await until(lambda: len(page.said) == 3 * FRAME_SAMPLES)
            frame = mouth.frame(100.0)
            assert frame is not None
            assert np.allclose(frame, tone(0), atol=1e-4)

    asyncio.run(speak())


def test_what_was_said_in_ticks_that_fell_out_is_gone():
    async def speak() -> None:
        async with page_socket() as (page, port), let_in(port):
            mouth, _ = mouth_of(page)
            await mouth.set("page")
            for n in range(8):
                page.said.put(noise(n))
            for n, skipped in ((0, 0), (4, 3)):
                mouth.skip(skipped)
                frame = mouth.frame(100.0 + n * FRAME_S)
                assert frame is not None
                assert np.allclose(frame, noise(n), atol=1e-4)

    asyncio.run(speak())


def test_a_page_that_goes_is_one_sentence_and_a_closed_mouth():
    async def speak() -> None:
        async with page_socket() as (page, port):
            mouth, told = mouth_of(page)
            async with let_in(port):
                await mouth.set("page")
                assert mouth.frame(100.0) is not None
            await until(lambda: page.connection is None)
            assert mouth.frame(100.02) is None
            assert not mouth.is_open
            assert told[1:] == [("INPUT_FAILED", CLOSED)]

    asyncio.run(speak())


def test_another_page_in_its_place_is_muted_too():
    async def speak() -> None:
        async with page_socket() as (page, port), let_in(port) as first:
            mouth, told = mouth_of(page)
            await mouth.set("page")
            assert mouth.frame(100.0) is not None
            async with let_in(port):  # reloaded, or opened twice: its microphone is closed
                assert await close_code(first) == 4409
                assert mouth.frame(100.02) is None
                assert told[1:] == [("INPUT_FAILED", CLOSED)]

    asyncio.run(speak())


def test_a_page_is_awaited_for_two_seconds():
    async def speak() -> None:
        async with page_socket() as (page, port):
            for comes in (True, False):
                mouth, told = mouth_of(page)
                await mouth.set("page")
                for n in range(AWAITED_TICKS):
                    frame = mouth.frame(100.0 + n * FRAME_S)
                    assert frame is not None
                    assert not frame.any()
                if comes:
                    async with let_in(port):
                        assert mouth.frame(102.0) is not None
                        mouth.close()
                    await until(lambda: page.connection is None)
                else:
                    assert mouth.frame(102.0) is None
                    assert told[1:] == [("INPUT_FAILED", CLOSED)]

    asyncio.run(speak())


@pytest.mark.parametrize("faster", [0.999, 1.001])  # ten times what sound cards differ by
@pytest.mark.parametrize("pieces", [1, 2])  # of a frame, in messages of their own
def test_a_page_whose_clock_drifts_is_followed_without_a_gap(faster, pieces):
    async def speak() -> None:
        async with page_socket() as (page, port), let_in(port):
            now_s = 0.0
            page.clock = lambda: now_s
            mouth, _ = mouth_of(page)
            await mouth.set("page")
            sent, silent_late, held = 0, 0, []
            for tick in range(6_000):  # two minutes of virtual time
                while (sent + 1) / pieces * FRAME_S / faster <= tick * FRAME_S:
                    now_s = (sent + 1) / pieces * FRAME_S / faster
                    whole = tone(sent // pieces)
                    page.hear(np.split(whole, pieces)[sent % pieces])
                    sent += 1
                now_s = tick * FRAME_S
                frame = mouth.frame(100.0 + now_s)
                assert frame is not None
                if tick > 150 and not frame.any():
                    silent_late += 1
                held += [len(page.said)]
            assert silent_late == 0
            # A message, what may be spare, and what the clocks do until it is seen.
            assert max(held[500:]) <= FRAME_SAMPLES / pieces + 240 + 200

    asyncio.run(speak())


def test_the_ear_plays_to_the_page_and_to_nobody_without_one():
    async def hear() -> None:
        async with page_socket() as (page, port):
            told = Told()
            ear = Ear(told, lambda spec: open_sink(spec, page))
            await ear.set("page")
            ear.play(100.0, tone(0))
            async with let_in(port) as client:
                for n in range(1, 5):
                    ear.play(100.0 + n * FRAME_S, tone(n))
                for n in range(1, 5):
                    assert np.allclose(frame_of(await client.recv()), tone(n), atol=1e-4)
            await until(lambda: page.connection is None)
            ear.play(101.0, tone(9))
            ear.skip(3)
            async with let_in(port) as client:
                ear.play(102.0, tone(10))
                assert np.allclose(frame_of(await client.recv()), tone(10), atol=1e-4)
            assert ear.is_open
            assert told == [("OUTPUT_STARTED", "")]

    asyncio.run(hear())


def test_what_is_too_loud_is_clipped():
    async def hear() -> None:
        async with page_socket() as (page, port), let_in(port) as client:
            page.play(np.full(FRAME_SAMPLES, 1.5, np.float32))
            frame = frame_of(await client.recv())
            assert frame.min() > 0.99

    asyncio.run(hear())


# ── its words ────────────────────────────────────────────────────────────────────────────────


def test_every_code_and_limit_stands_in_the_document():
    for code in (page_module.BAD_MESSAGE, page_module.BAD_TOKEN, page_module.REPLACED):
        assert f"| {code} |" in DOC
    for answer in (400, 403, 404, 421):
        assert f"| {answer} |" in DOC
    for limit in (FRAME_BYTES, PIECE_BYTES, MESSAGE_BYTES_MAX):
        assert f"{limit:,}" in DOC
    assert page_module.READY in DOC
    assert page_module.PATH in DOC
