"""Voices between media processes, over the sockets that they use: what comes, and what does not."""

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.guest.across import (
    LATE_S,
    READS_MAX,
    Across,
    Crossing,
    Pairs,
    inherited,
    pack,
    unpack,
)
from p2phouse.vocabulary import FRAME_S, LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS
from p2phouse.voice.plain import PAYLOAD_BYTES_MAX, Plain

ANA, BEN = LinkNumber(3), LinkNumber(4)
NOW_S = 100.0
SAID = Plain(PT_OPUS, True, 65_535, 2**32 - 1, Ssrc(2**32 - 1), 127, b"\x78opus")
CROSSING = Crossing(NOW_S, 7, ANA, SAID)
ELSEWHERE = Crossing(NOW_S, 8, ANA, SAID)


@given(
    st.builds(
        Crossing,
        st.floats(0, 1e9),
        st.integers(1, 2**32 - 1),
        st.integers(-(2**32), 2**62).map(LinkNumber),
        st.builds(
            Plain,
            st.just(PT_OPUS),
            st.booleans(),
            st.integers(0, 2**16 - 1),
            st.integers(0, 2**32 - 1),
            st.integers(0, 2**32 - 1).map(Ssrc),
            st.integers(0, 127),
            st.binary(min_size=1, max_size=PAYLOAD_BYTES_MAX),
        ),
    )
)
def test_a_packet_comes_out_as_it_went_in(crossing):
    assert unpack(pack(crossing)) == crossing


class Processes:
    """Those of a relay, all in this one."""

    def __init__(self, count: int) -> None:
        self.pairs = Pairs(range(count))
        self.ends = [self.inherit(number) for number in range(count)]

    def inherit(self, number: int) -> Across:
        """As a child does: its descriptors are copies."""
        own, *others = self.pairs.arguments(number)
        fds = [int(each.rpartition("=")[2]) for each in (own, *others)]
        assert set(fds) == set(self.pairs.fds(number))
        numbers = [each.split("=")[1] for each in others]
        copies = [f"{n}={os.dup(fd)}" for n, fd in zip(numbers, fds[1:], strict=True)]
        return inherited(os.dup(fds[0]), copies, late_s=LATE_S)


@pytest.fixture
def processes() -> Iterator[Processes]:
    its = Processes(3)
    yield its
    for end in its.ends:
        end.close()
    its.pairs.close()


def test_what_is_sent_comes_to_those_it_was_sent_to_and_to_nobody_else(processes: Processes):
    zero, one, two = processes.ends
    zero.send((1,), CROSSING)
    two.send((0, 1), ELSEWHERE)
    assert list(one.read(NOW_S)) == [CROSSING, ELSEWHERE]
    assert list(zero.read(NOW_S)) == [ELSEWHERE]
    assert list(two.read(NOW_S)) == []


def test_whoever_reads_nothing_holds_nobody_up_and_what_it_misses_is_counted(processes: Processes):
    zero, one, two = processes.ends
    sent = 2_000
    for _ in range(sent):
        zero.send((1, 2), CROSSING)
        assert len(list(two.read(NOW_S))) == 1
    came = 0
    while parts := list(one.read(NOW_S)):
        assert len(parts) <= READS_MAX
        came += len(parts)
    assert 100 < came < sent
    assert zero.dropped == sent - came


def test_who_was_held_up_reads_the_newest_of_each_voice_and_no_more(processes: Processes):
    zero, one, _ = processes.ends
    for n in range(50):
        at_s = NOW_S + n * FRAME_S
        for room, source in ((7, ANA), (7, BEN), (8, ANA)):
            zero.send((1,), Crossing(at_s, room, source, SAID._replace(seq=n)))
    read = one.read(NOW_S + 50 * FRAME_S)
    assert [(each.room, each.source, each.packet.seq) for each in read] == [
        (7, ANA, 49), (7, BEN, 49), (8, ANA, 49)
    ]  # fmt: skip
    assert one.dropped == 3 * 49
    for n in range(3):
        zero.send((1,), CROSSING._replace(at_s=NOW_S + n * FRAME_S))
    assert len(one.read(NOW_S + LATE_S)) == 3


def test_a_process_that_follows_on_a_dead_one_hears_nothing_of_what_was_for_that(
    processes: Processes,
):
    zero = processes.ends[0]
    zero.send((1,), CROSSING)
    processes.ends[1].close()
    again = processes.ends[1] = processes.inherit(1)
    assert list(again.read(NOW_S)) == []
    zero.send((1,), CROSSING)
    assert len(list(again.read(NOW_S))) == 1
    assert zero.dropped == 0


def test_who_is_left_behind_by_all_others_reads_nothing_and_does_not_turn_for_ever():
    for begun_before in (True, False):
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        own.setblocking(False)
        ends = [Across(own, {})] if begun_before else []
        other.close()
        (end,) = ends or [Across(own, {})]
        assert list(end.read(NOW_S)) == []
        end.close()


def test_a_burst_of_a_full_stage_is_not_too_much(processes: Processes):
    """A queue of datagrams takes ten in a container."""
    zero, one, _ = processes.ends
    longest = SAID._replace(payload=bytes(PAYLOAD_BYTES_MAX))
    for _ in range(48):
        zero.send((1,), CROSSING._replace(packet=longest))
    assert len(list(one.read(NOW_S))) == 48
    assert one.socket.type == socket.SOCK_SEQPACKET
