import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.relay.circuit_v2.pb import circuit_pb2 as theirs

from p2phouse.identity.keys import PEER_ID_PREFIX
from p2phouse.net.circuit_messages import (
    BadCircuitMessage,
    Kind,
    Message,
    Status,
    device_in,
    read_hop,
    read_stop,
    write_hop,
    write_stop,
)

messages = st.builds(
    Message,
    st.sampled_from([Kind.CONNECT, Kind.STATUS]),
    peer=st.binary(max_size=64),
    status=st.none() | st.integers(0, 2**32 - 1),
    limit_s=st.integers(0, 2**32 - 1),
    limit_bytes=st.integers(0, 2**64 - 1),
)


@given(messages)
def test_what_is_written_is_read_as_it_was_but_for_limits(message):
    read = replace(message, limit_s=0, limit_bytes=0)
    assert read_hop(write_hop(message)) == read
    assert read_stop(write_stop(message)) == read


def test_libp2p_reads_what_we_write():
    answer = Message(
        Kind.STATUS, status=Status.OK, expire_unix=1_800_000_000, limit_s=7_200, limit_bytes=9
    )
    read = theirs.HopMessage.FromString(write_hop(answer, addrs=(b"\x04addr",)))
    assert read.type == theirs.HopMessage.STATUS
    assert read.status == theirs.OK
    assert read.reservation.expire == 1_800_000_000
    assert list(read.reservation.addrs) == [b"\x04addr"]
    assert (read.limit.duration, read.limit.data) == (7_200, 9)
    call = theirs.StopMessage.FromString(
        write_stop(Message(Kind.CONNECT, peer=b"somebody", limit_s=7_200, limit_bytes=9))
    )
    assert call.type == theirs.StopMessage.CONNECT
    assert call.peer.id == b"somebody"
    assert (call.limit.duration, call.limit.data) == (7_200, 9)


@pytest.mark.parametrize(
    "peer", [b"", b"\x07" * 38, PEER_ID_PREFIX + b"\x07" * 31, PEER_ID_PREFIX + b"\x07" * 33]
)
def test_a_peer_of_another_kind_of_key_is_refused(peer):
    assert device_in(PEER_ID_PREFIX + b"\x07" * 32) == b"\x07" * 32
    with pytest.raises(BadCircuitMessage):
        device_in(peer)


def test_we_read_what_libp2p_writes():
    asked = theirs.HopMessage(type=theirs.HopMessage.CONNECT, peer=theirs.PeerId(id=b"somebody"))
    assert read_hop(asked.SerializeToString()) == Message(Kind.CONNECT, peer=b"somebody")
    said = theirs.StopMessage(type=theirs.StopMessage.STATUS, status=theirs.PERMISSION_DENIED)
    assert read_stop(said.SerializeToString()).status == Status.PERMISSION_DENIED


@given(st.binary(max_size=200))
def test_noise_is_a_message_or_refused(data):
    for read in (read_hop, read_stop):
        with contextlib.suppress(BadCircuitMessage):
            assert isinstance(read(data), Message)


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("0803"),  # no kind of ours
        bytes.fromhex("0a0100"),  # a kind that is bytes
        bytes.fromhex("080112"),  # a field without its value
        bytes.fromhex("08011205aa"),  # shorter than it says
        bytes.fromhex("0801280b30"),
        bytes.fromhex("08ffffffffffffffffffff01"),  # a number of eleven bytes
        b"\x08\x01" * 65,  # more fields than anybody has
    ],
)
def test_a_damaged_message_is_refused(data):
    with pytest.raises(BadCircuitMessage):
        read_hop(data)
