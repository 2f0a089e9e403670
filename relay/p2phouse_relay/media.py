"""The relay's media process: one port, all rooms, one loop; of several one of as many as there are.

`python -m p2phouse_relay.media FD --address A … --udp-port N` speaks p2phouse/channel.py on that
socket; when it ends, control is gone and so are we. The loop waits on the ports and the channel,
and does first what is sound: no coroutine, queue or task stands between a packet and its listeners.
"""

import argparse
import gc
import logging
import math
import os
import resource
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Final

from p2phouse import channel
from p2phouse.channel import (
    CloseGuestRoom,
    CloseLink,
    ConnectLink,
    GuestRole,
    LinkStatus,
    NewGuestRoom,
    OpenGuest,
    OpenLink,
    RestartGuest,
    SendOn,
    SetKeys,
    SetTable,
)
from p2phouse.errors import UserError
from p2phouse.guest.across import LATE_S, Across, Crossing, inherited
from p2phouse.guest.room import GuestRoom
from p2phouse.link.handshake import Identity
from p2phouse.link.lite import Credentials
from p2phouse.link.peers import Peers
from p2phouse.link.port import Port, Sink
from p2phouse.vocabulary import HERE, LinkNumber
from p2phouse.voice.plain import Plain
from p2phouse_relay.control_end import ControlEnd
from p2phouse_relay.links import NodeLinks, NodeRooms
from p2phouse_relay.speaking import Speaker, Speaking
from p2phouse_relay.thrift import ABOVE_PERMILLE, Thrift

log = logging.getLogger(__name__)

CHANNEL_VERSION: Final = 1
LOAD_EACH_S: Final = 1.0
SLOTS_EACH_S: Final = 0.1
REPORTS_EACH_S: Final = 1.0
FULL_PERMILLE: Final = 1_000
LATE_PERMILLE: Final = 50  # of the packets of a second: one that is late may be so by chance
SWITCH_S: Final = 0.0005


class PortTaken(UserError):
    """UDP port {port} of {address} cannot be used: {reason}. Choose another with --udp-port, or
    another address with --address."""


class Media:
    """Everything of the process but its loop and its channel."""

    def __init__(
        self,
        say: Callable[[channel.Up], None],
        ports: Sequence[Port],
        *,
        together_above: int = ABOVE_PERMILLE,
        across: Across | None = None,
        open_more: Callable[[], Sequence[Port]] = tuple,
    ) -> None:
        """together_above: load from which on packets of several voices go in one call. across: to
        the relay's other processes; None if this is the only one. open_more: ports for links of
        guests who speak among nodes, which the loop then reads by `speaking`."""
        self._thrift = Thrift(together_above)
        self._across = across
        self._dropped_across = 0  # as told last
        identity = Identity()
        self._say = say
        self.peers = Peers(
            identity,
            ports,
            entropy=os.urandom,
            on_packet=self._packet,
            on_control=self._control,
            on_state=self._link_state,
            on_moved=self._moved,
        )
        self._links = NodeRooms(
            lambda room: NodeLinks(self.peers, ports, identity.fingerprint, say, room)
        )
        self.speaking = Speaking(identity, say, ports, open_more)
        self._rooms: dict[int, GuestRoom] = {}
        self._guests: dict[LinkNumber, OpenGuest] = {}
        self._holders: dict[int, tuple[LinkNumber, ...]] = {}  # as told last
        self._of: dict[int, int] = {}  # guests' room -> the room of nodes that they hear
        self._slots_s = self._reports_s = 0.0
        self._in: dict[LinkNumber, GuestRoom | Speaker] = {}  # speakers, by link
        self._cpu_s = _cpu_s()
        self._ports = ports
        self._octets = 0  # as told last
        self._told_s = monotonic()
        say(channel.Started(CHANNEL_VERSION))
        say(channel.PortReady(ports[0].number, identity.fingerprint))

    def perform(self, message: channel.Down) -> None:
        if self.speaking.perform(monotonic(), message):
            return
        match message:
            case NewGuestRoom():
                self._new_guest_room(message)
            case CloseGuestRoom(number):
                self._close_room(number)
            case SendOn(number, to):
                self._send_on(number, to)
            case OpenGuest():
                self._open_guest(message)
            case RestartGuest() if message.link in self._guests:
                ours = Credentials(message.ufrag, message.pwd)
                theirs = Credentials(message.remote_ufrag, message.remote_pwd)
                self.peers.restart(message.link, ours, theirs)
            case RestartGuest():
                pass  # lost a moment ago, which is on its way to control
            case OpenLink():
                self._links.open(monotonic(), message)
            case ConnectLink():
                self._links.connect(monotonic(), message)
            case SetTable():
                self._links.set_table(monotonic(), message)
            case SetKeys():
                self._links.set_keys(message)
            case CloseLink(number):
                self._close(number)
            case _:
                log.warning("not_for_a_relay message=%s", type(message).__name__)

    def _tell_load(self, now_s: float) -> None:
        """When it is due: the share of a core since the last time."""
        since_s = now_s - self._told_s
        if since_s < LOAD_EACH_S:
            return
        cpu_s = _cpu_s()
        permille = round(1_000 * (cpu_s - self._cpu_s) / since_s)
        self._cpu_s, self._told_s = cpu_s, now_s
        if self.peers.late_permille() >= LATE_PERMILLE:
            permille = FULL_PERMILLE  # what others leave us of the core is not enough
        dropped = self._across.dropped if self._across is not None else 0
        not_sent_on, self._dropped_across = dropped - self._dropped_across, dropped
        sent = sum(port.octets for port in self._ports)
        octets, self._octets = sent - self._octets, sent
        self._say(channel.Load(max(0, min(FULL_PERMILLE, permille)), not_sent_on, octets))
        self._choose(permille)

    def _choose(self, permille: int) -> None:
        """Whether packets go together from now on."""
        before = self.together
        self._thrift.hear(permille)
        if self.together is not before:
            log.info("together=%s permille=%d", self.together, permille)
            for room in self._rooms.values():
                room.together = self.together

    @property
    def together(self) -> bool:
        """Whether packets of several voices wait for one another."""
        return self._thrift.together

    @property
    def deadline(self) -> float:
        flush_s = min((room.deadline for room in self._rooms.values()), default=math.inf)
        others_s = min(self.peers.deadline, self._links.deadline, self.speaking.deadline)
        return min(self._told_s + LOAD_EACH_S, others_s, flush_s)

    def tick(self, now_s: float) -> None:
        """At `deadline`, or more often."""
        for room in self._rooms.values():
            if now_s >= room.deadline:
                room.flush(now_s)
        if now_s >= self._links.deadline:
            self._links.tick(now_s)
        if now_s >= self.peers.deadline:
            self.peers.tick(now_s)
        if now_s >= self.speaking.deadline:
            self.speaking.tick(now_s)
        self._tell_load(now_s)
        if now_s >= self._slots_s:
            self._slots_s = now_s + SLOTS_EACH_S
            self._tell_slots()
        if now_s >= self._reports_s:
            self._reports_s = now_s + REPORTS_EACH_S
            self._report(now_s)

    def _report(self, now_s: float) -> None:
        for room in self._rooms.values():
            room.forget_silent(now_s)
            for link, data in room.reports(now_s):
                sink = self.peers.sink(link)
                if sink is not None:
                    sink.control(data)

    def _tell_slots(self) -> None:
        for number, room in self._rooms.items():
            holders = room.holders
            if holders != self._holders.get(number, (HERE,) * len(holders)):
                self._holders[number] = holders
                self._say(channel.GuestSlots(number, holders))

    # ── guests ───────────────────────────────────────────────────────────────────────────────

    def _new_guest_room(self, to: NewGuestRoom) -> None:
        if len(set(to.slots)) < len(to.slots) or to.room in self._rooms:
            return
        room = self._rooms[to.room] = GuestRoom(to.slots, os.urandom)
        room.together = self.together
        if to.of:
            self._of[to.room] = to.of
            self._links.lead_to(to.of, room)

    def _open_guest(self, guest: OpenGuest) -> None:
        room = self._rooms.get(guest.room)
        is_listener = guest.role is GuestRole.LISTENER
        is_known = room is not None or (guest.room < 0 and not is_listener)
        if not is_known or is_listener is not bool(guest.slots):
            reason = "no slots for this role" if is_known else "no such room"
            self._say(channel.LinkState(guest.link, LinkStatus.FAILED, reason))
            return
        expected = self.peers.expect(
            monotonic(),
            guest.link,
            Credentials(guest.ufrag, guest.pwd),
            ssrcs_max=0 if is_listener else 1,  # Security: a speaker brings one voice
            payload_type=guest.payload_type,
        )
        if not expected:
            self._say(channel.LinkState(guest.link, LinkStatus.FAILED, "its names are in use"))
            return
        self._guests[guest.link] = guest
        theirs = Credentials(guest.remote_ufrag, guest.remote_pwd)
        self.peers.meet(monotonic(), guest.link, theirs, guest.fp, is_server=True)

    def _link_state(self, number: LinkNumber, status: LinkStatus, reason: str) -> None:
        guest = self._guests.get(number)
        if guest is None:
            if number in self._links:
                self._links.link_state(monotonic(), number, status, reason)
            return
        if status is LinkStatus.CONNECTED:
            self._enter(guest)
        else:
            self._leave(number)
        self._say(channel.LinkState(number, status, reason[:200]))

    def _enter(self, guest: OpenGuest) -> None:
        if guest.room < 0:
            self._in[guest.link] = Speaker(guest, self.speaking)
            return
        room = self._rooms[guest.room]
        if guest.role is GuestRole.SPEAKER:
            room.add_speaker(guest.link, guest.payload_type, guest.level_extension)
            self._in[guest.link] = room
            return
        sink = self.peers.sink(guest.link)
        assert sink is not None
        room.add_listener(monotonic(), guest.link, sink, len(guest.slots))

    def _close(self, number: LinkNumber) -> None:
        if number in self._links:
            self._links.close(number)
        else:
            self._leave(number)
            self.peers.forget(number)

    def _leave(self, number: LinkNumber) -> None:
        guest = self._guests.pop(number, None)
        self._in.pop(number, None)
        if guest is not None and guest.room in self._rooms:
            self._rooms[guest.room].remove(number)

    def _close_room(self, number: int) -> None:
        for link in [each.link for each in self._guests.values() if each.room == number]:
            self._close(link)
        self._rooms.pop(number, None)
        self._holders.pop(number, None)
        of = self._of.pop(number, None)
        if of is not None:
            self._links.lead_to(of, None)

    def _send_on(self, number: int, to: tuple[int, ...]) -> None:
        room = self._rooms.get(number)
        across = self._across
        if room is None or across is None:
            return

        def send(now_s: float, source: LinkNumber, packet: Plain) -> None:
            across.send(to, Crossing(now_s, number, source, packet))

        room.send_on = send if to else None

    # ── sound ────────────────────────────────────────────────────────────────────────────────

    def read_across(self, now_s: float) -> None:
        """What came in at other processes."""
        assert self._across is not None
        for each in self._across.read(now_s):
            room = self._rooms.get(each.room)
            if room is not None:  # else it has closed a moment ago
                room.hand_out(now_s, each.source, each.packet)

    def _packet(self, number: LinkNumber, packet: bytes) -> None:
        room = self._in.get(number)
        if room is not None:
            room.receive(monotonic(), number, packet)
        else:
            self._links.packet(monotonic(), number, packet)

    def _control(self, number: LinkNumber, data: bytes) -> None:
        room = self._in.get(number)
        if room is not None:
            room.hear_control(monotonic(), number, data)
        else:
            self._links.control(monotonic(), number, data)

    def _moved(self, number: LinkNumber, sink: Sink) -> None:
        if number in self._links:
            self._links.moved(number)
            return
        for room in self._rooms.values():
            room.moved(sink)


def serve(
    sock: socket.socket, ports: Sequence[Port], across: Across | None, *, together_above: int
) -> None:
    """Does what control says until it says no more, or reads no more."""
    control = ControlEnd(sock)
    try:
        _serve(control, ports, across, together_above)
    except OSError as error:  # it ended with words of ours unread, which is how it may end
        log.info("control_gone error=%s", error.strerror or error)


def _serve(
    control: ControlEnd, ports: Sequence[Port], across: Across | None, together_above: int
) -> None:
    """Raises OSError of the channel alone: ports drop what they cannot send."""
    selector = selectors.DefaultSelector()

    def open_more() -> Sequence[Port]:
        more = open_ports([port.host for port in ports], 0, stay_near=ports[0].stays_near)
        for index, port in enumerate(more):
            read = partial(media.speaking.read, index=index)
            selector.register(port.socket, selectors.EVENT_READ, read)
        return more

    media = Media(
        control.say, ports, together_above=together_above, across=across, open_more=open_more
    )
    peers, speaking = media.peers, media.speaking
    for index, port in enumerate(ports):
        read = partial(peers.read, index=index)
        selector.register(port.socket, selectors.EVENT_READ, read)
    if across is not None:
        selector.register(across.socket, selectors.EVENT_READ, media.read_across)
    selector.register(control.socket, selectors.EVENT_READ)
    due_s = -math.inf
    while True:
        is_sound = True
        for key, _ in selector.select(max(0.0, due_s - monotonic())):
            if key.data is not None:
                key.data(monotonic())
                continue
            is_sound = False
            messages = control.read()
            if messages is None:
                return
            for message in messages:
                media.perform(message)
        now_s = monotonic()
        # After a packet of sound there is nothing else to do, and in a cold cache each look costs.
        has_work = peers.has_work or speaking.has_work
        if is_sound and now_s < due_s and not (has_work or media.together):
            continue
        resume_s = min(peers.work(now_s), speaking.work(now_s))
        media.tick(now_s)
        if control.wants_to_write:
            control.write()
        due_s = min(resume_s, media.deadline)


def open_ports(addresses: Sequence[str], number: int, *, stay_near: bool = False) -> list[Port]:
    """One socket for each address, all of one number. Raises PortTaken."""
    ports: list[Port] = []
    for address in addresses:
        try:
            same = ports[0].number if ports else number
            ports.append(Port(address, same, stays_near=stay_near))
        except OSError as error:
            raise PortTaken(port=number, address=address, reason=error.strerror) from error
    return ports


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fd", type=int)
    parser.add_argument("--address", action="append", required=True)
    parser.add_argument("--udp-port", type=int, default=0)
    parser.add_argument("--near", action="store_true")
    parser.add_argument("--together-above", type=int, default=ABOVE_PERMILLE)
    parser.add_argument("--across", type=int, metavar="FD")
    parser.add_argument("--to", action="append", default=[], metavar="NUMBER=FD")
    parser.add_argument("--log", default="WARNING")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=arguments.log, format="%(asctime)s %(levelname).1s %(name)s %(message)s"
    )
    # What is imported stays: scanned again and again it would hold up sound for 20 ms.
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    # Ctrl-C reaches the whole terminal; the end of this process is control's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ports = open_ports(arguments.address, arguments.udp_port, stay_near=arguments.near)
    except PortTaken as error:
        sys.exit(str(error))
    control = socket.socket(fileno=arguments.fd)
    across = None
    if arguments.across is not None:
        across = inherited(arguments.across, arguments.to, late_s=LATE_S)
    serve(control, ports, across, together_above=arguments.together_above)


if __name__ == "__main__":
    main()
