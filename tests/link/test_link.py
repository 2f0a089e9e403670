"""Links over real UDP on 127.0.0.1: what every kind of link must do, and what this one refuses."""

import asyncio
import dataclasses
import ipaddress
import os
import socket

import pytest

from p2phouse.channel import LinkRole, LinkStatus
from p2phouse.link import ice
from p2phouse.link.link import Link
from p2phouse.vocabulary import LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS, WRAP_PACKETS, Packet, build

KEEPALIVE = bytes.fromhex("80cc0004") + b"\1\2\3\4p2ph" + bytes(8)


def packet(seq, ssrc=7):
    return build(Packet(PT_OPUS, False, seq, seq * 960, Ssrc(ssrc), 30, True, b"sealed"))


class End:
    """One end of a link and all that came out of it."""

    def __init__(self, number, role, **more):
        self.told: asyncio.Queue[tuple[object, object]] = asyncio.Queue()
        self.link = Link(
            LinkNumber(number),
            role,
            local_only=more.pop("local_only", False),
            loopback_only=True,
            on_packet=lambda number, data: self.told.put_nowait(("packet", data)),
            on_control=lambda number, data: self.told.put_nowait(("control", data)),
            on_state=lambda number, status, reason: self.told.put_nowait((status, reason)),
        )

    async def next(self, within_s=15):
        async with asyncio.timeout(within_s):
            return await self.told.get()


async def connected_pair(make):
    ana, ben = make(1, LinkRole.OFFERER), make(2, LinkRole.ANSWERER)
    to_ana, to_ben = await ben.link.open(), await ana.link.open()
    await asyncio.gather(ana.link.connect(to_ana), ben.link.connect(to_ben))
    assert (await ana.next())[0] is LinkStatus.CONNECTED
    assert (await ben.next())[0] is LinkStatus.CONNECTED
    return ana, ben


def run(test):
    """The media process runs asyncio; so do its tests, each in a loop of its own.

    The test is given what makes an end; every end is closed after it.
    """

    async def and_close():
        ends = []

        def make(number, role, **more):
            ends.append(End(number, role, **more))
            return ends[-1]

        try:
            await test(make)
        finally:
            for end in ends:
                await end.link.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, "a closed link leaves no task"

    asyncio.run(and_close())


def test_packets_and_control_cross_both_ways_in_order():
    async def test(make):
        ana, ben = await connected_pair(make)
        for sender, receiver in ((ana, ben), (ben, ana)):
            for seq in range(50):
                sender.link.send(packet(seq))
            sender.link.send_control(KEEPALIVE)
            for seq in range(50):
                assert await receiver.next() == ("packet", packet(seq))
            assert await receiver.next() == ("control", KEEPALIVE)

    run(test)


def test_a_voice_that_is_about_to_wrap_begins_after_it():
    async def test(make):
        ana, ben = await connected_pair(make)
        for seq in (65_536 - WRAP_PACKETS, 65_535, 0, 1):
            ana.link.send(packet(seq))
        ana.link.send(packet(65_535, ssrc=8))
        ana.link.send(packet(65_536 - WRAP_PACKETS - 1, ssrc=9))
        ana.link.send(packet(65_535, ssrc=9))
        for seq, ssrc in ((0, 7), (1, 7), (65_536 - WRAP_PACKETS - 1, 9), (65_535, 9)):
            assert await ben.next() == ("packet", packet(seq, ssrc))

    run(test)


def test_a_closed_link_is_lost_at_the_other_end_at_once_and_says_no_more_itself():
    async def test(make):
        ana, ben = await connected_pair(make)
        await ana.link.close()
        status, reason = await ben.next()
        assert status is LinkStatus.LOST
        assert reason == "closed by the other end"
        ana.link.send(packet(1))  # into nothing
        assert ana.told.empty()

    run(test)


def test_a_peer_that_vanishes_without_a_word_is_lost_within_four_seconds():
    async def test(make):
        ana, ben = await connected_pair(make)
        sock = ana.link._datagrams._nominated[1].protocol.transport.get_extra_info("socket")
        # The cable is pulled: its socket takes nothing in and sends nothing out any more.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
            elsewhere.bind(("127.0.0.1", 0))
            os.dup2(elsewhere.fileno(), sock.fileno())
        began = asyncio.get_running_loop().time()
        status, reason = await ben.next()
        assert status is LinkStatus.LOST
        assert "no more" in reason
        assert asyncio.get_running_loop().time() - began < 4.0

    run(test)


def test_a_wrong_fingerprint_ends_the_handshake_at_the_end_that_was_told_it():
    async def test(make):
        ana, ben = make(1, LinkRole.OFFERER), make(2, LinkRole.ANSWERER)
        to_ana, to_ben = await ben.link.open(), await ana.link.open()
        forged = dataclasses.replace(to_ana, fp=bytes(32))
        await asyncio.gather(ana.link.connect(forged), ben.link.connect(to_ben))
        status, reason = await ana.next()
        assert status is LinkStatus.FAILED
        assert "prove" in reason

    run(test)


def test_no_candidate_at_all_fails_and_says_so():
    async def test(make):
        ana, ben = make(1, LinkRole.OFFERER), make(2, LinkRole.ANSWERER)
        await ana.link.open()
        described = await ben.link.open()
        await ana.link.connect(
            dataclasses.replace(described, cands=("rubbish", "1 1 udp 5 x.local"))
        )
        assert (await ana.next())[0] is LinkStatus.FAILED

    run(test)


def test_rubbish_and_replays_on_the_port_are_not_taken_for_voice():
    async def test(make):
        ana, ben = await connected_pair(make)
        address = ben.link._datagrams._nominated[1].local_addr
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for number in range(500):
                stranger.sendto(bytes([number % 256]) + os.urandom(number % 90), address)
            stranger.sendto(packet(1), address)  # plain RTP of the right shape
        ana.link.send(packet(9))
        assert await ben.next() == ("packet", packet(9))
        assert ben.told.empty()
        assert ben.link.forged > 0

    run(test)


def test_the_queue_of_handshake_datagrams_is_bounded():
    async def test(make):
        ana = make(1, LinkRole.OFFERER)
        await ana.link.open()
        for _ in range(10 * ice.HANDSHAKE_DATAGRAMS_MAX):
            ana.link._datagrams.data_received(b"\x16" + bytes(40), 1)
        assert ana.link._datagrams._handshake.qsize() == ice.HANDSHAKE_DATAGRAMS_MAX

    run(test)


def test_a_link_may_be_closed_at_any_moment_of_its_opening():
    async def test(make):
        for pause_s in (0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05):
            ana, ben = make(1, LinkRole.OFFERER), make(2, LinkRole.ANSWERER)
            to_ana, to_ben = await ben.link.open(), await ana.link.open()
            both = asyncio.gather(ana.link.connect(to_ana), ben.link.connect(to_ben))
            await asyncio.wait([both], timeout=pause_s)
            await ana.link.close()
            await ben.link.close()
            await both

    run(test)


def test_a_link_closed_while_it_gathers_leaves_no_socket():
    async def test(make):
        before = len(os.listdir("/proc/self/fd"))
        ana = make(1, LinkRole.OFFERER)
        opening = asyncio.ensure_future(ana.link.open())
        await asyncio.sleep(0)
        await ana.link.close()
        await asyncio.wait([opening])
        assert len(os.listdir("/proc/self/fd")) == before

    run(test)


def test_the_network_of_a_local_room_is_never_left():
    async def test(make):
        ana = make(1, LinkRole.OFFERER, local_only=True)
        await ana.link.open()
        for protocol in ana.link._datagrams._protocols:
            sock = protocol.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 1

    run(test)


ANYWHERE = "f 1 udp 2130706431 {host} 4000 typ host"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f 1 udp",
        ANYWHERE.format(host="someone.local"),
        ANYWHERE.format(host="example.org"),
        ANYWHERE.format(host="0.0.0.0"),
        ANYWHERE.format(host="224.0.0.251"),
        ANYWHERE.format(host="127.0.0.1").replace("udp", "tcp"),
        ANYWHERE.format(host="127.0.0.1").replace(" 1 ", " 2 "),
        ANYWHERE.format(host="127.0.0.1").replace("4000", "0"),
        ANYWHERE.format(host="127.0.0.1").replace("4000", "70000"),
        ANYWHERE.format(host="127.0.0.1") + " generation " + "1" * 200,
    ],
)
def test_a_candidate_that_is_no_plain_address_is_passed_over(text):
    assert ice.read_candidates([text], may_use=lambda ip: True) == []


def test_candidates_are_counted():
    good = [ANYWHERE.format(host=f"10.0.0.{number}") for number in range(20)]
    assert len(ice.read_candidates(good, may_use=lambda ip: True)) == ice.CANDIDATES_MAX
    assert ice.read_candidates(good, may_use=lambda ip: False) == []


def test_of_several_addresses_of_ipv6_in_a_network_the_outward_one_is_told():
    texts = ("127.0.0.1/8", "192.168.1.10/24", "2a05:8:1::10/64", "2a05:8:1::dead/64")
    found = [ipaddress.ip_interface(each) for each in (*texts, "fd00::2/64", "fe80::1/64")]
    told = ice.addresses_of(found, outward="2a05:8:1::dead")
    assert told == ["192.168.1.10", "2a05:8:1::dead", "fd00::2"]
    assert ice.addresses_of(found, outward="") == [
        "192.168.1.10",
        "2a05:8:1::10",
        "2a05:8:1::dead",
        "fd00::2",
    ]
    many = [ipaddress.ip_interface(f"10.0.{number}.1/24") for number in range(20)]
    told = ice.addresses_of([*many, *found], outward="")
    assert (len(told), told[-1]) == (ice.CANDIDATES_MAX, "fd00::2")


def test_a_machine_with_loopback_alone_gathers_there():
    assert ice.local_addresses(loopback_only=True) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("host", "own", "networks", "usable"),
    [
        ("127.0.0.1", ["192.168.1.5"], None, False),
        ("127.0.0.1", ["127.0.0.1"], None, True),
        ("::1", ["192.168.1.5"], None, False),
        ("::ffff:127.0.0.1", ["192.168.1.5"], None, False),
        ("203.0.113.5", ["192.168.1.5"], None, True),
        ("203.0.113.5", ["192.168.1.5"], ["192.168.1.0/24"], False),
        ("192.168.1.9", ["192.168.1.5"], ["192.168.1.0/24"], True),
        ("2001:db8::1", ["192.168.1.5"], ["192.168.1.0/24"], False),
    ],
)
def test_a_peer_cannot_have_us_probe_this_machine_or_leave_a_local_room(
    host, own, networks, usable
):
    ip = ipaddress.ip_address(host)
    attached = None if networks is None else [ipaddress.IPv4Network(text) for text in networks]
    assert ice.may_use(ip, own=own, networks=attached) is usable


def test_a_link_asks_that_of_every_candidate():
    async def test(make):
        ana, ben = make(1, LinkRole.OFFERER, local_only=True), make(2, LinkRole.ANSWERER)
        described = await ben.link.open()
        await ana.link.open()
        far = dataclasses.replace(described, cands=(ANYWHERE.format(host="203.0.113.5"),))
        await ana.link.connect(far)
        assert (await ana.next())[0] is LinkStatus.FAILED
        assert ana.link._datagrams.remote_candidates == []

    run(test)
