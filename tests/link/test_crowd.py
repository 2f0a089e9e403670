"""Crowds over loopback: everybody gets each packet once, under its own key, whatever else is."""

import errno
import os
import random
import socket
from collections.abc import Iterator

import pytest

from p2phouse.link import srtp, syscalls
from p2phouse.link.crowd import Crowd
from p2phouse.link.gcm import FLOWS_MAX, Flows
from p2phouse.link.handshake import PROFILES, Keys, Profile
from p2phouse.link.port import CHUNK, Port, Sink
from p2phouse.link.srtp import Receiving
from p2phouse.vocabulary import Ssrc
from p2phouse.voice.packet import PT_OPUS, WRAP_PACKETS
from p2phouse.voice.plain import Plain, build, parse
from tests.needed import need_ipv6


@pytest.fixture(params=["sendmmsg", "sendto"])
def port(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Port]:
    if request.param == "sendto":
        monkeypatch.setattr(syscalls, "sendmmsg", None)
    elif syscalls.sendmmsg is None:
        pytest.skip("this system has no sendmmsg")
    port = Port("127.0.0.1", 0)
    yield port
    port.close()


class Listener:
    def __init__(self, port: Port, profile: Profile = PROFILES[0], payload_type: int = 111) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        size = profile.key_bytes + profile.salt_bytes
        ours, theirs = os.urandom(size), os.urandom(size)
        self.sink = Sink(port, self.socket.getsockname(), Keys(profile, ours, theirs), payload_type)
        self._receiving = Receiving(Keys(profile, theirs, ours))
        self.got: list[bytes] = []
        self.octets = 0  # of what came, with the 28 of UDP and IPv4

    def hear(self) -> None:
        """What has come; each must open."""
        while True:
            try:
                data = self.socket.recv(2_048)
            except BlockingIOError:
                return
            self.octets += len(data) + 28
            plain = self._receiving.open(data)
            assert plain is not None
            self.got.append(plain)

    def heard(self) -> list[bytes]:
        """All that came since it was last asked."""
        self.hear()
        got, self.got = self.got, []
        return got


@pytest.fixture
def listeners(port: Port) -> Iterator[list[Listener]]:
    listeners: list[Listener] = []
    yield listeners
    for each in listeners:
        each.socket.close()


def packet(seq: int, payload: bytes = b"opus" * 20, ssrc: int = 5) -> bytes:
    return build(Plain(PT_OPUS, False, seq, 960 * seq, Ssrc(ssrc), 30, payload))


@pytest.mark.parametrize("number", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_everybody_gets_every_packet(port: Port, listeners: list[Listener], number: int):
    listeners += [Listener(port) for _ in range(number)]
    crowd = Crowd()
    for each in listeners:
        crowd.add(each.sink)
    # Of lengths that take each kind of row.
    packets = [packet(n, os.urandom(size)) for n, size in enumerate((1, 100, 700, 1_276, 3, 240))]
    for data in packets:
        crowd.send(data)
    assert [each.heard() for each in listeners] == [packets] * number
    assert len(crowd) == number
    assert port.dropped == 0


@pytest.mark.parametrize("number", [1, CHUNK, CHUNK + 1, 2 * CHUNK + 5])
@pytest.mark.parametrize("sizes", [(100, 100), (80, 120, 99), (1, 240, 240, 2), (1_276, 700), (5,)])
def test_packets_that_go_together_come_one_by_one(
    port: Port, listeners: list[Listener], number: int, sizes: tuple[int, ...]
):
    """As they were, but for padding, which every receiver of RTP takes off."""
    listeners += [Listener(port) for _ in range(number)]
    crowd = Crowd()
    for each in listeners:
        crowd.add(each.sink)
    for seq in range(3):
        packets = [packet(seq, os.urandom(size), ssrc) for ssrc, size in enumerate(sizes, start=1)]
        crowd.send_together(packets)
        for each in listeners:
            assert [parse(data) for data in each.heard()] == [parse(data) for data in packets]
    assert port.dropped == 0


def test_a_port_counts_what_comes_to_those_whom_it_sends_to(port: Port, listeners: list[Listener]):
    """Also where one message of the system is several datagrams."""
    listeners += [Listener(port, PROFILES[n % len(PROFILES)]) for n in range(CHUNK + 5)]
    crowd = Crowd()
    for each in listeners:
        crowd.add(each.sink)
    for seq in range(3):
        crowd.send(packet(seq, os.urandom(90 + seq)))
        crowd.send_together([packet(seq, bytes(100), ssrc) for ssrc in (6, 7, 8)])
        crowd.send_together([packet(seq, bytes(1_000), 9), packet(seq, bytes(10), 10)])
    for each in listeners:
        assert len(each.heard()) == 18
    assert port.octets == sum(each.octets for each in listeners)


def test_a_crowd_that_grows_goes_on_together(port: Port, listeners: list[Listener]):
    crowd = Crowd()
    for n in range(1, 100):
        listeners.append(Listener(port))
        crowd.add(listeners[-1].sink)
        crowd.send_together([packet(n), packet(n, ssrc=6)])
    for n, each in enumerate(listeners, start=1):
        assert len(each.heard()) == 2 * (100 - n)


def test_a_crowd_may_be_of_all_kinds(port: Port, listeners: list[Listener]):
    listeners += [
        Listener(port, profile, payload_type) for profile in PROFILES for payload_type in (96, 111)
    ] * 1
    crowd = Crowd()
    for each in listeners:
        crowd.add(each.sink)
    sent = [packet(n) for n in range(3)]
    for data in sent:
        crowd.send(data)
    for each in listeners:
        heard = each.heard()
        assert {parse(data).payload_type for data in heard} == {each.sink.payload_type}
        assert [data[2:] for data in heard] == [data[2:] for data in sent]


def test_whoever_goes_hears_no_more_and_the_others_go_on(port: Port, listeners: list[Listener]):
    listeners += [Listener(port) for _ in range(100)]
    crowd = Crowd()
    for each in listeners:
        crowd.add(each.sink)
    gone, stay = listeners[::3], [each for n, each in enumerate(listeners) if n % 3]
    crowd.send(packet(1))
    for each in gone:
        crowd.remove(each.sink)
        crowd.remove(each.sink)
    crowd.send(packet(2))
    crowd.add(gone[0].sink)
    crowd.send(packet(3))
    assert [each.heard() for each in stay] == [[packet(1), packet(2), packet(3)]] * len(stay)
    assert gone[0].heard() == [packet(1), packet(3)]
    assert [each.heard() for each in gone[1:]] == [[packet(1)]] * (len(gone) - 1)
    for each in listeners:
        crowd.remove(each.sink)
    assert len(crowd) == 0
    crowd.send(packet(4))


def test_who_moves_is_sent_to_its_new_address(port: Port, listeners: list[Listener]):
    listeners += [Listener(port), Listener(port)]
    crowd = Crowd()
    for each in listeners:
        crowd.add(each.sink)
    old = listeners[0].socket
    listeners[0].socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listeners[0].socket.bind(("127.0.0.1", 0))
    listeners[0].socket.setblocking(False)
    listeners[0].sink.move(port, listeners[0].socket.getsockname())
    crowd.moved(listeners[0].sink)
    crowd.send(packet(1))
    assert [each.heard() for each in listeners] == [[packet(1)]] * 2
    with pytest.raises(BlockingIOError):
        old.recv(100)
    old.close()


def test_a_bad_address_does_not_starve_those_behind_it(port: Port, listeners: list[Listener]):
    listeners += [Listener(port) for _ in range(CHUNK + 3)]
    crowd = Crowd()
    for n, each in enumerate(listeners):
        if n in (0, 7, CHUNK):
            each.sink.move(port, ("127.0.0.1", 0))  # no datagram can go there
        crowd.add(each.sink)
    crowd.send(packet(1))
    for n, each in enumerate(listeners):
        assert each.heard() == ([] if n in (0, 7, CHUNK) else [packet(1)])
    assert port.dropped == 3


@pytest.mark.parametrize("profile", PROFILES, ids=lambda each: each.name.decode())
def test_a_second_packet_of_one_seq_goes_to_nobody(
    port: Port, listeners: list[Listener], profile: Profile
):
    listeners += [Listener(port, profile) for _ in range(5)]
    crowd = Crowd()
    for each in listeners[:2]:
        crowd.add(each.sink)
    crowd.send(packet(1))
    for each in listeners[2:]:
        crowd.add(each.sink)
    crowd.send(packet(1, b"another payload"))
    crowd.send_together([packet(1, b"3rd!" * 20), packet(1, ssrc=6)])
    assert [each.heard() for each in listeners[:2]] == [[packet(1), packet(1, ssrc=6)]] * 2
    assert [each.heard() for each in listeners[2:]] == [[packet(1, ssrc=6)]] * 3


def test_a_packet_that_is_not_protected_does_not_leave(port: Port, listeners: list[Listener]):
    """libsrtp refuses it for one of them, who was sent it by another way."""
    listeners += [Listener(port, PROFILES[2]) for _ in range(3)]
    crowd = Crowd()
    for each in listeners:
        crowd.add(each.sink)
    row, size = srtp.new("char[]", 200), srtp.new("int *", len(packet(1)))
    row[0 : len(packet(1))] = packet(1)
    assert srtp.protect(listeners[1].sink.handle, row, size) == 0
    crowd.send(packet(1))
    assert [each.heard() for each in listeners] == [[packet(1)], [], [packet(1)]]


def test_a_sink_may_be_in_several_crowds_of_one_room(port: Port, listeners: list[Listener]):
    """As under the batch forwarder, whose rows share links; each crowd is sent what goes to it."""
    listeners += [Listener(port) for _ in range(4)]
    flows = Flows()
    ana, ben = Crowd(flows), Crowd(flows)
    for each in listeners:
        ana.add(each.sink)
    for each in listeners[2:]:
        ben.add(each.sink)
    for seq in (65_000, 65_535, 65_536, 65_537):
        ana.send(packet(seq % 65_536, ssrc=1))
        ben.send(packet(seq % 65_536, ssrc=2))
    ana.send(packet(7, ssrc=3))
    ben.send(packet(8, ssrc=3))
    later = Crowd(flows)
    for each in listeners:
        later.add(each.sink)
    later.send(packet(9, ssrc=3))
    later.send(packet(4, ssrc=1))
    assert [len(each.heard()) for each in listeners] == [7, 7, 12, 12]


def test_a_sink_of_one_room_cannot_be_in_another(port: Port, listeners: list[Listener]):
    listeners.append(Listener(port))
    Crowd().add(listeners[0].sink)
    with pytest.raises(AssertionError):
        Crowd().add(listeners[0].sink)


@pytest.mark.parametrize("together", [False, True])
def test_wraps_reorder_and_late_comers_are_all_one_to_who_listens(
    port: Port, listeners: list[Listener], together: bool
):
    """Each opens with libsrtp whatever it is sent, from its first packet on."""
    crowd, rng = Crowd(), random.Random(6)
    # Two wraps, and leaps as far as a receiver can follow.
    order = [*range(65_400, 65_700), 90_000, 110_000, *range(130_900, 131_300)]
    for at in range(0, len(order), 10):
        some = order[at : at + 10]
        rng.shuffle(some)
        order[at : at + 10] = some
    sent = []
    for n, seq in enumerate(order):
        if n % 50 == 0:
            listeners.append(Listener(port))
            crowd.add(listeners[-1].sink)
        if n % 97 == 96:
            crowd.remove(listeners[n // 97 - 1].sink)
        data = packet(seq % 65_536)
        sent.append(data)
        if together:
            crowd.send_together([data, packet(n, ssrc=6)])
        else:
            crowd.send(data)
        for each in listeners:
            each.hear()
    assert [parse(data) for data in listeners[-1].got if parse(data).ssrc == 5] == [
        parse(data) for data in sent[-len([d for d in listeners[-1].got if parse(d).ssrc == 5]) :]
    ]
    assert sum(len(each.got) for each in listeners) > 3_000


def test_a_voice_that_was_forgotten_goes_only_to_who_never_heard_it(
    port: Port, listeners: list[Listener]
):
    """Its wraps are counted from none again: for who heard it, nonces would repeat."""
    listeners += [Listener(port), Listener(port)]
    flows = Flows()
    crowd, nobody = Crowd(flows), Crowd(flows)
    crowd.add(listeners[0].sink)
    crowd.send(packet(1, b"first"))
    for n in range(3 * FLOWS_MAX):
        nobody.send(packet(1, ssrc=100 + n))
    crowd.add(listeners[1].sink)
    for n in (1, 2):
        crowd.send(packet(n, b"again"))
        crowd.send_together([packet(n + 2, b"again"), packet(n, ssrc=6)])
    assert [parse(each).payload for each in listeners[0].heard() if parse(each).ssrc == 5] == [
        b"first"
    ]
    assert [parse(each).seq for each in listeners[1].heard() if parse(each).ssrc == 5] == [
        *(1, 3, 2, 4)
    ]


def test_two_packets_of_one_voice_may_go_together(port: Port, listeners: list[Listener]):
    """Each under the nonce of its own seq."""
    listeners += [Listener(port) for _ in range(CHUNK + 1)]
    crowd = Crowd()
    for each in listeners:
        crowd.add(each.sink)
    crowd.send_together([packet(1, b"one"), packet(2, b"two")])
    for each in listeners:
        assert each.heard() == [packet(1, b"one"), packet(2, b"two")]


def test_who_came_after_a_wrap_is_sent_nothing_from_before_it(
    port: Port, listeners: list[Listener]
):
    listeners += [Listener(port), Listener(port)]
    crowd = Crowd()
    crowd.add(listeners[0].sink)
    crowd.send(packet(65_400))
    crowd.send(packet(65_534))
    crowd.send(packet(0))
    crowd.add(listeners[1].sink)
    crowd.send(packet(1))
    crowd.send(packet(65_535))  # late
    crowd.send(packet(2))
    seqs = [[parse(data).seq for data in each.heard()] for each in listeners]
    assert seqs == [[65_400, 65_534, 0, 1, 65_535, 2], [1, 2]]


def test_ipv6_has_a_port_as_well():
    need_ipv6()
    port = Port("::1", 0)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.setblocking(False)
        key, other = os.urandom(28), os.urandom(28)
        crowd = Crowd()
        crowd.add(Sink(port, sock.getsockname(), Keys(PROFILES[0], key, other), None))
        crowd.send(packet(1))
        assert Receiving(Keys(PROFILES[0], other, key)).open(sock.recv(2_048)) == packet(1)
    port.close()


@pytest.mark.skipif(syscalls.sendmmsg is None, reason="this system has no sendmmsg")
@pytest.mark.parametrize("profile", [PROFILES[0], PROFILES[2]], ids=["gcm", "other"])
def test_a_network_that_takes_no_more_is_asked_once_a_packet_and_not_for_everybody(
    listeners: list[Listener], monkeypatch: pytest.MonkeyPatch, profile: Profile
):
    """Each try waits up to 20 ms; for a crowd of thousands that would be everybody's sound."""
    port = Port("127.0.0.1", 0)
    listeners += [Listener(port, profile) for _ in range(3 * CHUNK)]
    crowd, tries = Crowd(), 0

    def full(*call: object) -> int:
        nonlocal tries
        tries += 1
        return -1

    for each in listeners:
        crowd.add(each.sink)
    with monkeypatch.context() as patch:
        patch.setattr(syscalls, "sendmmsg", full)
        patch.setattr(syscalls, "last_errno", lambda: errno.EAGAIN)
        crowd.send(packet(1))
    assert tries == 1
    assert port.dropped == 3 * CHUNK
    crowd.send(packet(2))
    assert all(each.heard() == [packet(2)] for each in listeners)
    port.close()


def test_a_voice_that_is_about_to_wrap_begins_after_it(port: Port, listeners: list[Listener]):
    """For who comes just then, and might lose all that is left: he would never open one of it."""
    listeners += [Listener(port), Listener(port)]
    crowd = Crowd()
    crowd.add(listeners[0].sink)
    crowd.send(packet(65_536 - WRAP_PACKETS - 1))
    crowd.add(listeners[1].sink)
    for seq in range(65_536 - WRAP_PACKETS, 65_536):
        crowd.send(packet(seq))
    assert len(listeners[0].heard()) == WRAP_PACKETS + 1
    assert listeners[1].heard() == []
    crowd.send(packet(0))
    for each in listeners:
        assert each.heard() == [packet(0)]
    crowd.send(packet(65_535))  # once more, and late
    crowd.send(packet(1))
    assert [each.heard() for each in listeners] == [[packet(1)]] * 2
