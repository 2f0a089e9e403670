"""A relay over real sockets, with a media process that carries nothing (stand_in_media.py)."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from p2phouse.guest.terms import RoomTerms
from p2phouse_relay.daemon import Relay, RelayConfig, running
from p2phouse_relay.ports import AddressUnusable, HttpPortUnusable, UdpPortUnusable
from p2phouse_relay.run import DEV_TERMS
from tests.guest.test_sdp import offer, section
from tests.needed import need_ipv6
from tests.relay import stand_in_media

LISTEN = offer(section())


PLAIN = RelayConfig(
    name="test",
    addresses=("127.0.0.1",),
    bind="127.0.0.1",
    http_port=0,
    udp_port=0,
    terms=DEV_TERMS,
    media_module=stand_in_media.__name__,
)


@asynccontextmanager
async def relay(processes: int = 1) -> AsyncIterator[Relay]:
    with trio.fail_after(60):
        async with running(replace(PLAIN, processes=processes)) as its:
            yield its


def process_of(its: Relay, answer: str) -> int:
    """Which of its media processes an answer sends to."""
    (number,) = (n for n, port in its.media.ports.items() if f" {port} typ host" in answer)
    return number


async def asked(
    whom: Relay | int,
    method: str,
    path: str,
    body: bytes = b"",
    kind="application/sdp",
    token: str = "",
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of what a relay, or whoever has that port, answers."""
    port = whom if isinstance(whom, int) else whom.http_port
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Authorization: Bearer {token}\r\n" if token else ""
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.send_all(head.encode() + body)
        told = b"".join([part async for part in stream])
    head, _, text = told.decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), {name.lower(): value for name, value in headers.items()}, text


async def gone(relay: Relay, place: str) -> None:
    """Waits until nobody is at `place` any more: media's word for it takes a moment."""
    while (await asked(relay, "GET", place))[0] != 404:  # noqa: ASYNC110 - nobody is told of it
        await trio.sleep(0.02)


async def test_somebody_joins_is_known_and_leaves():
    async with relay() as its:
        status, headers, answer = await asked(its, "POST", "/whep/tea", LISTEN)
        assert status == 201
        assert f" {its.media.ports[0]} typ host" in answer
        now = json.loads((await asked(its, "GET", "/r/tea/now"))[2])
        assert (now["room"], now["relay"], now["allowed"]) == ("tea", "test", True)
        assert (now["people"], now["speakers"]) == (1, [])
        assert (await asked(its, "DELETE", headers["location"]))[0] == 200
        assert json.loads((await asked(its, "GET", "/r/tea/now"))[2])["people"] == 0


async def test_a_speaker_has_a_name_and_a_face():
    async with relay() as its:
        speak = offer(section(direction="sendonly"))
        assert (await asked(its, "POST", "/whip/tea/ana", speak))[0] == 201
        now = json.loads((await asked(its, "GET", "/r/tea/now"))[2])
        assert now["people"] == 1
        # The bytes that the face of `ana` in the pictures of the design is drawn from.
        assert [(each["name"], each["face"][:20]) for each in now["speakers"]] == [
            ("ana", "a4c3ad57cb15f3a57695")
        ]


async def test_who_is_lost_is_forgotten():
    async with relay() as its:
        lost = LISTEN.replace(b"abcd", b"lost")
        place = (await asked(its, "POST", "/whep/tea", lost))[1]["location"]
        await gone(its, place)


async def test_when_media_dies_all_are_gone_and_the_next_one_takes_whoever_comes():
    async with relay() as its:
        place = (await asked(its, "POST", "/whep/tea", LISTEN))[1]["location"]
        await asked(its, "POST", "/whep/tea", LISTEN.replace(b"abcd", b"dies"))
        await gone(its, place)
        status, headers, _ = await asked(its, "POST", "/whep/tea", LISTEN)
        while status == 503:
            await trio.sleep(float(headers["retry-after"]) / 10)
            status, headers, _ = await asked(its, "POST", "/whep/tea", LISTEN)
        assert status == 201
        assert its.media.restarts == 1


async def test_of_several_processes_one_may_die_and_its_guests_alone_are_gone():
    async with relay(processes=3) as its:
        assert len(set(its.media.ports.values())) == 3
        places = {}
        for _ in range(3):
            _, headers, answer = await asked(its, "POST", "/whep/tea", LISTEN)
            places[process_of(its, answer)] = headers["location"]
        assert places.keys() == {0, 1, 2}
        _, _, answer = await asked(its, "POST", "/whep/tea", LISTEN.replace(b"abcd", b"dies"))
        dead = process_of(its, answer)
        await gone(its, places.pop(dead))
        for place in places.values():
            assert (await asked(its, "DELETE", place))[0] == 200


async def test_the_page_and_its_files_come_with_rules_and_nothing_else_is_served():
    async with relay() as its:
        status, headers, text = await asked(its, "GET", "/r/tea")
        assert status == 200
        assert headers["content-type"] == "text/html"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "<script" in text
        assert (await asked(its, "GET", "/listen.js"))[1]["content-type"] == "text/javascript"
        manifest = json.loads((await asked(its, "GET", "/r/tea/app.webmanifest"))[2])
        assert manifest["start_url"] == "/r/tea"
        assert (await asked(its, "POST", "/r/tea"))[0] == 405
        for path in ("/", "/main.js", "/../listen.js", "/r/", "/r/tea/more", "/%2e%2e/daemon.py"):
            assert (await asked(its, "GET", path))[0] == 404, path


async def test_who_is_in_a_room_that_asks_for_a_token_is_told_to_those_who_have_it():
    rooms = {"tea": RoomTerms(speak="s" * 16, listen="l" * 16)}
    async with running(replace(PLAIN, terms=replace(DEV_TERMS, rooms=rooms))) as its:
        speak = offer(section(direction="sendonly"))
        kind = "application/sdp\r\nAuthorization: Bearer "
        assert (await asked(its, "POST", "/whip/tea/ana", speak, kind + "s" * 16))[0] == 201
        for token, people in (("x" * 16, 0), ("s" * 16, 0), ("l" * 16, 1)):
            now = json.loads((await asked(its, "GET", "/r/tea/now", kind=kind + token))[2])
            assert now["allowed"] is bool(people)
            assert len(now.get("speakers", ())) == now.get("people", 0) == people


async def test_a_file_that_a_browser_has_already_is_not_sent_again():
    async with relay() as its:
        etag = (await asked(its, "GET", "/listen.js"))[1]["etag"]
        kind = f"x\r\nIf-None-Match: {etag}"
        assert (await asked(its, "GET", "/listen.js", kind=kind))[::2] == (304, "")


async def test_ports_and_addresses_that_cannot_be_had_are_named():
    async with relay() as its:
        with pytest.raises(HttpPortUnusable, match=str(its.http_port)):
            async with running(replace(PLAIN, http_port=its.http_port)):
                pass
        with pytest.raises(UdpPortUnusable, match=str(its.media.ports[0])):
            async with running(replace(PLAIN, udp_port=its.media.ports[0])):
                pass
    for address in ("192.0.2.1", "nowhere"):
        with pytest.raises(AddressUnusable, match=address):
            async with running(replace(PLAIN, bind=address)):
                pass


async def test_a_relay_that_is_reached_by_both_versions_of_ip_listens_to_both():
    need_ipv6()
    both = replace(PLAIN, addresses=("127.0.0.1", "::1"), bind="0.0.0.0")
    async with running(both) as its:
        for address in both.addresses:
            stream = await trio.open_tcp_stream(address, its.http_port)
            async with stream:
                await stream.send_all(
                    b"GET /r/tea/now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                )
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 ")
