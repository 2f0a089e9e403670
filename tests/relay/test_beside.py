"""The relay that a node starts beside itself: whose it is, and how far what it says goes."""

import socket
from dataclasses import replace

import pytest
import trio

from p2phouse_relay.beside import BadUid, beside
from p2phouse_relay.daemon import running
from tests.guest.test_sdp import offer, section
from tests.relay import stand_in_media
from tests.relay.test_relay import asked

UID = bytes(range(32)).hex()


def config(tmp_path, *, near: bool):
    made = beside(UID, name="Ana", address="127.0.0.1", home=tmp_path, near=near, port=0)
    return replace(made, among=None, media_module=stand_in_media.__name__)


async def test_it_has_no_rooms_but_those_of_its_node(tmp_path):
    with trio.fail_after(60):
        async with running(config(tmp_path, near=True)) as its:
            for path in ("/whep/tea", "/whip/tea/eve"):
                assert (await asked(its, "POST", path, offer(section())))[0] == 404
            for path in ("/r/tea", "/r/tea/now", "/r/tea/listen.webm"):
                assert (await asked(its, "GET", path))[0] == 404


async def test_it_is_at_the_address_that_it_is_told_and_at_no_other_of_the_machine(tmp_path):
    """Security: a machine may be on networks that its owner did not mean."""
    with trio.fail_after(60):
        async with running(config(tmp_path, near=False)) as its:
            assert (await asked(its, "GET", "/r/tea"))[0] == 404
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream("127.0.0.2", its.http_port)


@pytest.mark.parametrize("near", [True, False])
def test_it_takes_what_its_owner_opens(near):
    charter = beside(UID, name="Ana", address="127.0.0.1", home=None, near=near, port=0).among
    assert charter is not None
    assert charter.charter.near is near
    assert charter.charter.allow == {bytes.fromhex(UID)}
    assert charter.charter.admits.name == "LISTED"
    with pytest.raises(BadUid):
        beside("ana", name="", address="127.0.0.1", home=None, near=False, port=0)


@pytest.mark.parametrize("near", [True, False])
async def test_what_is_read_of_a_lan_room_is_passed_on_by_no_router(tmp_path, near):
    with trio.fail_after(60):
        async with running(config(tmp_path, near=near)) as its:
            async with await trio.open_tcp_stream("127.0.0.1", its.http_port) as stream:
                await stream.send_all(b"GET /r/x HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await stream.receive_some()
            # What is accepted has it from there (Linux: inet_csk_clone_lock copies the socket).
            (listener,) = its.listeners
            assert isinstance(listener, trio.SocketListener)
            hops = listener.socket.getsockopt(socket.IPPROTO_IP, socket.IP_TTL)
            assert (hops == 1) is near


async def test_with_its_usual_port_taken_it_has_another(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        first = config(tmp_path, near=False)
        with trio.fail_after(60):
            async with running(first) as its, running(config(tmp_path, near=False)) as other:
                assert its.http_port != other.http_port
