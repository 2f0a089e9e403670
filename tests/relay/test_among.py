"""A relay as it is started, among nodes: its policy over HTTP, and a room that it carries."""

from dataclasses import replace

import pytest
import trio

from p2phouse.drive import clock
from p2phouse.guest import tokens
from p2phouse.hall import invitation
from p2phouse.hall.relay_ask import Verdict
from p2phouse.net import well_known
from p2phouse.record import envelope
from p2phouse.record.types import Act, Policy
from p2phouse.room import messages
from p2phouse.room.state import Member
from p2phouse_relay.daemon import Among, running
from p2phouse_relay.settings import Tls
from tests.guest.test_http import certificate
from tests.guest.test_sdp import offer, section
from tests.relay.test_carrying import OPEN, give, people
from tests.relay.test_relay import PLAIN, asked
from tests.waits import until


async def get(port: int, path: str) -> tuple[bytes, bytes]:
    """Head and body."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        told = b"".join([part async for part in stream])
    head, _, body = told.partition(b"\r\n\r\n")
    return head, body


async def test_the_policy_is_one_record_over_http_and_over_libp2p(tmp_path, monkeypatch):
    monkeypatch.setenv("P2PHOUSE_RUNTIME_DIR", str(tmp_path / "runtime"))
    certificate(tmp_path)
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.certificate))  # whom OpenSSL trusts
    config = replace(PLAIN, tls=tls, among=Among(OPEN, 0, "loopback", tmp_path / "relay"))
    with trio.fail_after(90):
        async with running(config) as relay, people(tmp_path, "ana") as (ana,):
            assert relay.carrying is not None
            body = await well_known.fetch("localhost", relay.http_port)
            record = envelope.read(body, Policy).record
            envelope.check_time(record, clock().unix)
            for address in (
                f"127.0.0.1:{relay.carrying.network.port}",
                f"https://localhost:{relay.http_port}",
            ):
                found = await ana.relays.look(address)
                assert (found.dev, found.policy.record.name) == (record.dev, record.name)
                assert found.policy.record.page == f"https://127.0.0.1:{relay.http_port}"
                assert found.port == relay.carrying.network.port
            await ana.shell.act(messages.Open("Tea"))
            assert (await ana.relays.give(found, None)).verdict is Verdict.CARRIED
            await until(lambda: found.dev in ana.here.members, "the relay is in the room")
            relay.drain()
            await relay.drained.wait()
            await until(lambda: found.dev not in ana.here.members, "and has left it")


async def test_without_nodes_it_has_no_policy_to_show():
    with trio.fail_after(60):
        async with running(PLAIN) as relay:
            head, _ = await get(relay.http_port, "/.well-known/p2phouse")
            assert b"404" in head.splitlines()[0]


@pytest.mark.nightly
async def test_a_guest_comes_by_http_into_a_room_of_nodes_with_the_token_of_its_host(
    tmp_path, monkeypatch
):
    """And is out of both when the host removes it. What is said is in test_node_rooms.py."""
    monkeypatch.setenv("P2PHOUSE_RUNTIME_DIR", str(tmp_path / "runtime"))
    config = replace(PLAIN, among=Among(OPEN, 0, "loopback", tmp_path / "relay"))
    speak = offer(section("0", direction="sendonly"))
    seed = bytes(range(32))
    async with running(config) as relay, people(tmp_path, "ana") as (ana,):
        carrying = relay.carrying
        assert carrying is not None
        await ana.shell.act(messages.Open("Tea"))
        await give(ana, carrying)
        await until(lambda: ana.here.hub == carrying.me.dev, "the relay carries Ana")
        zoe = tokens.person_of(seed, clock())
        await ana.shell.act(messages.NameVoice(zoe))
        path = f"/whip/{invitation.room_text(ana.here.room)}/Zo%C3%A9"
        token = tokens.write(seed)
        status = 0
        with trio.fail_after(20):
            while status != 201:  # the entry is on its way
                status, _, _ = await asked(relay, "POST", path, speak, token=token)
                await trio.sleep(0.1)

        def member() -> Member | None:
            return next((each for each in ana.here.members.values() if each.uid == zoe), None)

        await until(lambda: (it := member()) is not None and not it.muted, "Zoé on stage")
        await ana.shell.act(messages.Decide(Act.ROLE, "Zoé via Dev", "remove"))
        await until(lambda: member() is None, "Zoé out of the room")
        await until(lambda: relay.guests.count == 0, "and off the relay")
        assert (await asked(relay, "POST", path, speak, token=token))[0] == 403
