"""Voices between media processes, over the sockets that they use: what comes, and what does not."""

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.guest.across import READS_MAX, Across, Pairs, inherited, pack, unpack
from p2phouse.vocabulary import LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS
from p2phouse.voice.plain import PAYLOAD_BYTES_MAX, Plain

ANA = LinkNumber(3)
SAID = Plain(PT_OPUS, True, 65_535, 2**32 - 1, Ssrc(2**32 - 1), 127, b"\x78opus")


@given(
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
    st.integers(1, 2**32 - 1),
    st.integers(-(2**32), 2**62).map(LinkNumber),
)
def test_a_packet_comes_out_as_it_went_in(packet, room, source):
    assert unpack(pack(room, source, packet)) == (room, source, packet)


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
        return inherited(os.dup(fds[0]), copies)


@pytest.fixture
def processes() -> Iterator[Processes]:
    its = Processes(3)
    yield its
    for end in its.ends:
        end.close()
    its.pairs.close()


def test_what_is_sent_comes_to_those_it_was_sent_to_and_to_nobody_else(processes: Processes):
    zero, one, two = processes.ends
    zero.send(7, (1,), ANA, SAID)
    two.send(8, (0, 1), ANA, SAID)
    assert list(one.read()) == [(7, ANA, SAID), (8, ANA, SAID)]
    assert list(zero.read()) == [(8, ANA, SAID)]
    assert list(two.read()) == []


def test_whoever_reads_nothing_holds_nobody_up_and_what_it_misses_is_counted(processes: Processes):
    zero, one, two = processes.ends
    sent = 2_000
    for _ in range(sent):
        zero.send(7, (1, 2), ANA, SAID)
        assert len(list(two.read())) == 1
    came = 0
    while parts := list(one.read()):
        assert len(parts) <= READS_MAX
        came += len(parts)
    assert 100 < came < sent
    assert zero.dropped == sent - came


def test_a_process_that_follows_on_a_dead_one_hears_nothing_of_what_was_for_that(
    processes: Processes,
):
    zero = processes.ends[0]
    zero.send(7, (1,), ANA, SAID)
    processes.ends[1].close()
    again = processes.ends[1] = processes.inherit(1)
    assert list(again.read()) == []
    zero.send(7, (1,), ANA, SAID)
    assert len(list(again.read())) == 1
    assert zero.dropped == 0


def test_a_burst_of_a_full_stage_is_not_too_much(processes: Processes):
    """A queue of datagrams takes ten in a container."""
    zero, one, _ = processes.ends
    longest = SAID._replace(payload=bytes(PAYLOAD_BYTES_MAX))
    for _ in range(48):
        zero.send(7, (1,), ANA, longest)
    assert len(list(one.read())) == 48
    assert one.socket.type == socket.SOCK_SEQPACKET
