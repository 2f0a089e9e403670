"""The cores of carrying as one: what a listener gets when more speak than are carried."""

import random
from collections import Counter

from p2phouse.carry.carrier import Carrier
from p2phouse.carry.table import compile_table
from p2phouse.channel import TableRow
from p2phouse.vocabulary import FRAME_S, HERE, LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS, Packet, build, parse

SPEAKERS = [LinkNumber(n) for n in range(1, 9)]
LISTENER = LinkNumber(20)


def test_eight_who_speak_at_once_reach_a_listener_as_three_and_the_host():
    """Invariant M3: after the first moment never more at a time than the seats, and who is
    pinned."""
    rng = random.Random(9)
    sent: list[tuple[float, Ssrc]] = []
    carrier, now = Carrier(lambda ssrc, packet: None), 50.0
    for link in SPEAKERS:
        carrier.add(now, link, lambda packet: None)
    carrier.add(now, LISTENER, lambda packet: sent.append((now, parse(packet).ssrc)))
    rows = [
        TableRow(link, Ssrc(link), (), (HERE, LISTENER), (), link == SPEAKERS[-1])
        for link in SPEAKERS
    ]
    assert carrier.set_table(now, compile_table(1, rows, loudest=3))
    for tick in range(2_000):
        now = 50.0 + tick * FRAME_S
        for link in SPEAKERS:
            if (tick // 150 + link) % 3:  # each pauses a third of the time
                level = rng.randint(20, 60)
                packet = Packet(PT_OPUS, False, tick, tick * 960, Ssrc(link), level, True, b"x")
                assert carrier.receive(link, build(packet))
        list(carrier.tick(now))
    at_once = Counter(at for at, _ in sent if at > 51.0)
    assert max(at_once.values()) <= 3 + 1 + 1  # a seat may change hands between two ticks
    assert sum(count > 4 for count in at_once.values()) < 0.02 * len(at_once)
    assert {ssrc for _, ssrc in sent} > {Ssrc(SPEAKERS[-1])}


def test_all_are_sent_on_where_nobody_is_to_be_chosen():
    sent: list[bytes] = []
    carrier = Carrier(lambda ssrc, packet: None)
    for link in SPEAKERS:
        carrier.add(0.0, link, lambda packet: None)
    carrier.add(0.0, LISTENER, sent.append)
    rows = [TableRow(link, Ssrc(link), (), (HERE, LISTENER)) for link in SPEAKERS]
    carrier.set_table(0.0, compile_table(1, rows, loudest=3))
    carrier.set_table(0.0, compile_table(2, rows))
    for tick in range(1, 50):
        for link in SPEAKERS:
            packet = Packet(PT_OPUS, False, tick, tick * 960, Ssrc(link), 30, True, b"x")
            carrier.receive(link, build(packet))
        list(carrier.tick(tick * FRAME_S))
    assert len(sent) == 49 * len(SPEAKERS)


def test_a_voice_comes_from_a_standby_for_as_long_as_its_own_link_is_silent():
    """However long that is: a lender is held to the pace of time, and ticks are what tells it."""
    sent: list[bytes] = []
    carrier = Carrier(lambda ssrc, packet: None)
    own, standby = SPEAKERS[:2]
    for link in (own, standby):
        carrier.add(0.0, link, lambda packet: None)
    carrier.add(0.0, LISTENER, sent.append)
    row = TableRow(own, Ssrc(own), (standby,), (HERE, LISTENER))
    carrier.set_table(0.0, compile_table(1, [row]))
    for tick in range(1, 1_500):
        list(carrier.tick(tick * FRAME_S))
        packet = Packet(PT_OPUS, False, tick, tick * 960, row.ssrc, 30, True, b"x")
        assert carrier.receive(own if tick < 10 else standby, build(packet))
    assert len(sent) == 1_499
