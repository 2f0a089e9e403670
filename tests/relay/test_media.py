"""The relay's media process from both sides: control's channel and guests' datagrams."""

import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from p2phouse import channel
from p2phouse.carry.rtcp import Report, SenderInfo, decode, encode_report
from p2phouse.channel import (
    CloseGuestRoom,
    CloseLink,
    GuestRole,
    GuestSlots,
    LinkState,
    LinkStatus,
    Load,
    NewGuestRoom,
    OpenGuest,
    PortReady,
    SendOn,
    Started,
)
from p2phouse.guest.across import Across
from p2phouse.link import peers as subject
from p2phouse.link.port import Port
from p2phouse.vocabulary import LinkNumber, Ssrc
from p2phouse.voice.plain import parse
from p2phouse_relay.media import CHANNEL_VERSION, Media
from tests.link.browser import Browser, meet, new_credentials

SLOTS = (Ssrc(101), Ssrc(102), Ssrc(103), Ssrc(104))
ROOM = 7


class Relay:
    """Media's insides with a real port, and guests at it; nobody's loop but `turn`."""

    def __init__(self, across: Across | None = None) -> None:
        self.port = Port("127.0.0.1", 0)
        self.said: list[channel.Up] = []
        self.across = across
        self.media = Media(self.said.append, [self.port], across=across)
        self.guests: list[Browser] = []
        self.media.perform(NewGuestRoom(ROOM, SLOTS))

    def open(self, role: GuestRole, *, lines: int = 0, room: int = ROOM, pt: int = 111) -> Browser:
        ready = self.said[1]
        assert isinstance(ready, PortReady)
        ours = new_credentials()
        number = len(self.guests) + 1
        guest = Browser(f"guest-{number}", ("127.0.0.1", ready.port), ours, ready.fp)
        self.guests.append(guest)
        self.media.perform(
            OpenGuest(
                LinkNumber(number),
                room,
                role,
                *ours,
                *guest.ours,
                guest.identity.fingerprint,
                pt,
                SLOTS[:lines],
            )
        )
        return guest

    def join(self, role: GuestRole, *, lines: int = 0, pt: int = 111) -> Browser:
        guest = self.open(role, lines=lines, pt=pt)
        guest.check()
        connected = LinkState(LinkNumber(len(self.guests)), LinkStatus.CONNECTED, "")
        assert meet(self.turn, lambda: guest.is_connected and connected in self.said)
        return guest

    def speaker(self) -> Browser:
        return self.join(GuestRole.SPEAKER)

    def listener(self, lines: int = 1, pt: int = 111) -> Browser:
        return self.join(GuestRole.LISTENER, lines=lines, pt=pt)

    def link(self, guest: Browser) -> LinkNumber:
        return LinkNumber(self.guests.index(guest) + 1)

    def turn(self) -> None:
        self.media.peers.read(time.monotonic(), 0)
        self.media.peers.work(time.monotonic())
        self.media.tick(time.monotonic())
        if self.across is not None:
            self.media.read_across(time.monotonic())
        for guest in self.guests:
            guest.act()

    def hears(self, guest: Browser, payload: bytes) -> bool:
        """Whether it does before long."""

        def has() -> bool:
            return any(parse(data).payload == payload for data in guest.packets)

        return meet(self.turn, has, 2.0)

    def close(self) -> None:
        self.port.close()
        for guest in self.guests:
            guest.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    relay = Relay()
    yield relay
    relay.close()


def test_it_says_where_it_is_before_anything_else(relay: Relay):
    started, ready = relay.said
    assert started == Started(CHANNEL_VERSION)
    assert isinstance(ready, PortReady)
    assert ready.port == relay.port.number


def test_a_speaker_is_heard_by_every_listener_of_its_room_and_by_nobody_else(relay: Relay):
    relay.media.perform(NewGuestRoom(8, SLOTS))
    ana, ben, cem = relay.speaker(), relay.listener(), relay.listener(4)
    dea = relay.open(GuestRole.LISTENER, lines=1, room=8)
    dea.check()
    assert meet(relay.turn, lambda: dea.is_connected)
    for n in range(5):
        ana.speak(b"\x78frame %d" % n)
    for listener in (ben, cem):
        assert relay.hears(listener, b"\x78frame 4")
        assert {parse(data).ssrc for data in listener.packets} == {SLOTS[0]}
        assert len(listener.packets) == 5
    assert dea.packets == ana.packets == []


@pytest.fixture
def two() -> Iterator[tuple[Relay, Relay]]:
    """Of one relay, with sockets between them."""
    ends = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    for end in (each for pair in ends for each in pair):
        end.setblocking(False)
    its = [Relay(Across(ends[n][0], {1 - n: ends[1 - n][1]})) for n in range(2)]
    yield its[0], its[1]
    for each in its:
        each.close()
    for end in (each for pair in ends for each in pair):
        end.close()


def test_a_speaker_at_one_process_is_heard_at_the_other_for_as_long_as_somebody_listens_there(
    two: tuple[Relay, Relay],
):
    here, there = two
    ana, ben, cem = here.speaker(), here.listener(4), there.listener(4)
    here.media.perform(SendOn(ROOM, (1,)))
    for n in range(5):
        ana.speak(b"\x78frame %d" % n)
    for relay, listener in ((here, ben), (there, cem)):
        here.turn()
        assert relay.hears(listener, b"\x78frame 4")
        assert {parse(data).ssrc for data in listener.packets} == {SLOTS[0]}
        assert len(listener.packets) == 5
    assert meet(there.turn, lambda: any(isinstance(each, GuestSlots) for each in there.said), 2.0)
    (slots,) = (each for each in there.said if isinstance(each, GuestSlots))
    assert slots.holders[0] == here.link(ana)
    here.media.perform(SendOn(ROOM, ()))
    ana.speak(b"\x78last")
    assert here.hears(ben, b"\x78last")
    there.turn()
    assert len(cem.packets) == 5


def test_each_listener_gets_the_payload_type_of_its_own_offer(relay: Relay):
    ana, ben, cem = relay.speaker(), relay.listener(pt=96), relay.listener(pt=109)
    ana.speak()
    for listener, payload_type in ((ben, 96), (cem, 109)):
        assert relay.hears(listener, b"\x78opus")
        assert parse(listener.packets[0]).payload_type == payload_type


def test_two_speakers_have_a_slot_each_and_one_line_hears_one_of_them(relay: Relay):
    ana, ben = relay.speaker(), relay.speaker()
    one, four = relay.listener(1), relay.listener(4)
    for _ in range(10):
        ana.speak(b"\x78ana", ssrc=1)
        ben.speak(b"\x78ben", ssrc=2)
        relay.turn()
    assert meet(relay.turn, lambda: len(four.packets) == 20, 2.0)
    heard = {(parse(data).ssrc, parse(data).payload) for data in four.packets}
    assert {ssrc for ssrc, _ in heard} == set(SLOTS[:2])
    assert len(heard) == 2
    assert len({parse(data).payload for data in one.packets}) == 1
    assert {parse(data).ssrc for data in one.packets} == {SLOTS[0]}


def test_who_has_which_slot_is_told_when_it_changes(relay: Relay):
    ana, ben, _ = relay.speaker(), relay.speaker(), relay.listener(4)

    def told(*holders: int) -> bool:
        slots = [each for each in relay.said if isinstance(each, GuestSlots)]
        return slots[-1:] == [GuestSlots(ROOM, tuple(map(LinkNumber, holders)))]

    ben.speak(ssrc=2)
    assert meet(relay.turn, lambda: told(2, 0, 0, 0))
    ana.speak()
    assert meet(relay.turn, lambda: told(2, 1, 0, 0))
    relay.media.perform(CloseLink(LinkNumber(2)))
    assert meet(relay.turn, lambda: told(0, 1, 0, 0))
    assert len([each for each in relay.said if isinstance(each, GuestSlots)]) == 3


def test_a_speaker_is_told_how_its_voice_comes_and_can_measure_the_way(relay: Relay):
    ana = relay.speaker()
    sender = SenderInfo(clock=0x12345678, packets=3, octets=30)
    ana.report(encode_report(Report(Ssrc(5), sender, ())))
    for seq in (1, 2, 4):  # one is lost
        ana.speak(seq=seq)
    assert meet(relay.turn, lambda: bool(ana.controls))
    time.sleep(0.01)
    ana.speak(seq=5)
    assert meet(relay.turn, lambda: len(ana.controls) > 1)
    reports = decode(ana.controls[-1])
    assert isinstance(reports, tuple)
    (report,) = reports
    (block,) = report.blocks
    assert report.sender is None
    assert (block.ssrc, block.highest_seq, block.lost) == (5, 5, 1)
    assert block.lsr == 0x12345678
    assert 0 < block.dlsr < 5 * 65_536


def test_packets_that_are_not_of_the_voice_go_nowhere(relay: Relay):
    ana, ben = relay.open(GuestRole.SPEAKER, pt=96), relay.listener()
    ana.check()
    assert meet(relay.turn, lambda: ana.is_connected)
    ana.speak()  # as 111: a tone, or comfort noise
    assert not relay.hears(ben, b"\x78opus")


def test_who_speaks_brings_one_voice_and_who_listens_none(relay: Relay):
    """Security: each further one is as much work as the first."""
    ana, ben, cem = relay.speaker(), relay.listener(), relay.listener()
    ana.speak(b"\x78first", ssrc=5)
    assert relay.hears(ben, b"\x78first")
    ana.speak(b"\x78second", ssrc=6)
    cem.speak(b"\x78cem", ssrc=7)
    ana.speak(b"\x78last", ssrc=5)
    assert relay.hears(ben, b"\x78last")
    assert [parse(data).payload for data in ben.packets] == [b"\x78first", b"\x78last"]


def test_a_room_that_is_no_room_and_a_guest_without_a_role_are_refused_in_words(relay: Relay):
    relay.media.perform(NewGuestRoom(8, (SLOTS[0], SLOTS[0])))
    relay.open(GuestRole.LISTENER, lines=1, room=8)
    assert relay.said[-1] == LinkState(LinkNumber(1), LinkStatus.FAILED, "no such room")
    for role, lines in ((GuestRole.LISTENER, 0), (GuestRole.SPEAKER, 1)):
        guest = relay.open(role, lines=lines)
        reason = "no slots for this role"
        assert relay.said[-1] == LinkState(relay.link(guest), LinkStatus.FAILED, reason)


def test_whoever_is_closed_hears_no_more(relay: Relay):
    ana, ben, cem = relay.speaker(), relay.listener(), relay.listener()
    relay.media.perform(CloseLink(relay.link(ben)))
    ana.speak()
    assert relay.hears(cem, b"\x78opus")
    assert ben.packets == []
    relay.media.perform(CloseLink(relay.link(ana)))
    ana.speak(b"\x78more")
    assert not relay.hears(cem, b"\x78more")


def test_a_room_that_is_closed_is_silent_and_takes_nobody(relay: Relay):
    ana, ben = relay.speaker(), relay.listener()
    relay.media.perform(CloseGuestRoom(ROOM))
    ana.speak()
    assert not relay.hears(ben, b"\x78opus")
    relay.open(GuestRole.LISTENER, lines=1)
    state = relay.said[-1]
    assert isinstance(state, LinkState)
    assert (state.link, state.status) == (LinkNumber(3), LinkStatus.FAILED)


def test_a_listener_who_moves_hears_on(relay: Relay):
    ana, ben = relay.speaker(), relay.listener()
    ben.move()
    ben.check()
    assert meet(relay.turn, lambda: ben.asked > 0)
    relay.turn()
    ana.speak()
    assert relay.hears(ben, b"\x78opus")


def test_load_is_told_once_a_second(relay: Relay):
    now_s = time.monotonic()
    for after_s in (0.5, 1.1, 1.2, 2.3):
        relay.media.tick(now_s + after_s)
    loads = [each for each in relay.said if isinstance(each, Load)]
    assert len(loads) == 2
    assert all(0 <= each.core_permille <= 1_000 for each in loads)


def test_who_is_late_is_full_whatever_its_share_of_the_core(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
):
    """Others use the core as well, and sound waits. Outcome: control lets nobody more in."""
    ana = relay.speaker()
    with monkeypatch.context() as here:
        here.setattr(subject, "SOUND_S_MAX", 0.0)  # there is no time for any of it
        for _ in range(50):
            ana.speak()
        assert meet(relay.turn, lambda: relay.media.peers.has_work)
    now_s = time.monotonic()
    relay.media.peers.work(now_s + 0.5)
    for after_s in (1.1, 2.2):
        relay.media.tick(now_s + after_s)
    loads = [each.core_permille for each in relay.said if isinstance(each, Load)]
    assert loads[0] == 1_000
    assert loads[1] < 1_000


def test_whatever_control_says_in_whatever_order_the_process_lives(relay: Relay):
    rng = random.Random(3)
    for _ in range(2_000):
        link = LinkNumber(rng.randrange(1, 9))
        room = rng.randrange(4)
        sayings: list[channel.Down] = [
            NewGuestRoom(room, SLOTS),
            NewGuestRoom(room, (SLOTS[0],) * 4),
            CloseGuestRoom(room),
            CloseLink(link),
            OpenGuest(
                link,
                room,
                rng.choice(list(GuestRole)),
                *new_credentials(),
                *new_credentials(),
                bytes(32),
                111,
                SLOTS[: rng.randrange(5)],
            ),
        ]
        relay.media.perform(rng.choice(sayings))
        relay.turn()


# ── the process ──────────────────────────────────────────────────────────────────────────────


class Process:
    def __init__(self, *arguments: str) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(20.0)
        self._reader = channel.FrameReader("up")
        self._unread: list[channel.Up] = []
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "p2phouse_relay.media", str(theirs.fileno()), *arguments],
                pass_fds=[theirs.fileno()],
                stderr=subprocess.PIPE,
                text=True,
            )

    def next(self) -> channel.Up:
        while not self._unread:
            data = self.socket.recv(65_536)
            assert data, self.process.communicate()[1]
            self._unread += self._reader.feed(data)  # type: ignore[arg-type]  # a reader of "up"
        return self._unread.pop(0)

    def close(self) -> int:
        self.socket.close()
        status = self.process.wait(20.0)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status


def test_the_process_serves_guests_and_ends_with_control():
    media = Process("--address", "127.0.0.1")
    assert media.next() == Started(CHANNEL_VERSION)
    ready = media.next()
    assert isinstance(ready, PortReady)
    media.socket.sendall(channel.encode(NewGuestRoom(ROOM, SLOTS)))
    guests = []
    for number, role in enumerate((GuestRole.SPEAKER, GuestRole.LISTENER), 1):
        ours = new_credentials()
        guest = Browser(f"guest-{number}", ("127.0.0.1", ready.port), ours, ready.fp)
        opened = OpenGuest(
            LinkNumber(number),
            ROOM,
            role,
            *ours,
            *guest.ours,
            guest.identity.fingerprint,
            111,
            SLOTS[:2] if role is GuestRole.LISTENER else (),
        )
        media.socket.sendall(channel.encode(opened))
        guests.append(guest)

    def turn() -> None:
        for guest in guests:
            if not guest.answered:
                guest.check()  # the channel and the port may overtake each other
            guest.act()

    assert meet(turn, lambda: all(guest.is_connected for guest in guests))
    ana, ben = guests

    def heard() -> bool:
        ana.speak()
        return bool(ben.packets)

    assert meet(turn, heard)
    states = [media.next() for _ in range(2)]
    assert {each.status for each in states if isinstance(each, LinkState)} == {LinkStatus.CONNECTED}
    for guest in guests:
        guest.close()
    assert media.close() == 0


def test_a_port_that_is_taken_is_said_in_a_sentence():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        media = Process("--address", "127.0.0.1", "--udp-port", str(number))
        _, errors = media.process.communicate(timeout=20.0)
        media.socket.close()
        assert media.process.returncode == 1
        assert f"UDP port {number} of 127.0.0.1 cannot be used" in errors
        assert "Traceback" not in errors
