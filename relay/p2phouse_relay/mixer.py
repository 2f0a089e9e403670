"""The relay's mixer: a process that makes one voice in WebM of each room that somebody reads.

`python -m p2phouse_relay.mixer FD --across FD` speaks p2phouse/channel.py on one socket; on the
other the media processes send on the rooms' voices, as they do to one another. To decode what
strangers say and to encode costs more than to forward it, so it is not done where that is done.
"""

import argparse
import logging
import math
import os
import selectors
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final

from p2phouse import channel
from p2phouse.channel import CloseGuestRoom, GuestSlots, Mixed, NewGuestRoom, SendOn
from p2phouse.guest.across import Across, inherited
from p2phouse.guest.mix import RoomMix
from p2phouse.vocabulary import FRAME_S, LinkNumber
from p2phouse.voice.plain import Plain
from p2phouse_relay.control_end import ControlEnd

log = logging.getLogger(__name__)

CHANNEL_VERSION: Final = 1
LATE_TICKS_MAX: Final = 10  # so many are caught up with; what is older is left out
NICENESS: Final = 5  # where there is one core, who is forwarded to comes first


class Mixer:
    """All rooms that are mixed."""

    def __init__(self, say: Callable[[channel.Up], None]) -> None:
        self._say = say
        self._rooms: dict[int, RoomMix] = {}
        self._holders: dict[int, tuple[LinkNumber, ...]] = {}  # as told last
        self._due_s = math.inf
        say(channel.Started(CHANNEL_VERSION))

    def perform(self, now_s: float, message: channel.Down) -> None:
        match message:
            case NewGuestRoom(room, slots):
                # The clock is the machine's: a mixer after us goes on later than we were.
                self._rooms[room] = RoomMix(slots, os.urandom, round(now_s * 1_000))
                self._due_s = min(self._due_s, now_s + FRAME_S)
            case CloseGuestRoom(room):
                self._rooms.pop(room, None)
                self._holders.pop(room, None)
                if not self._rooms:
                    self._due_s = math.inf
            case SendOn():
                pass  # no voice comes in here
            case _:
                log.warning("not_for_a_mixer message=%s", type(message).__name__)

    def receive(self, now_s: float, number: int, source: LinkNumber, packet: Plain) -> None:
        room = self._rooms.get(number)
        if room is not None:
            room.receive(now_s, source, packet)

    @property
    def deadline(self) -> float:
        return self._due_s

    def tick(self, now_s: float) -> None:
        """At `deadline`, or more often."""
        if self._rooms and now_s >= self._due_s + LATE_TICKS_MAX * FRAME_S:
            late = int((now_s - self._due_s) / FRAME_S)
            log.info("late ticks=%d rooms=%d", late, len(self._rooms))
            self._due_s += late * FRAME_S
            for number, room in self._rooms.items():
                self._give(number, room.skip(late))
        while self._rooms and now_s >= self._due_s:
            for number, room in self._rooms.items():
                self._give(number, room.tick(self._due_s))
            self._due_s += FRAME_S

    def _give(self, number: int, cluster: bytes) -> None:
        if not cluster:
            return
        self._say(Mixed(number, cluster))
        holders = self._rooms[number].holders
        if holders != self._holders.get(number):
            self._holders[number] = holders
            self._say(GuestSlots(number, holders))


def serve(control: ControlEnd, across: Across) -> None:
    """Until control says no more. Raises OSError if it reads no more."""
    mixer = Mixer(control.say)
    selector = selectors.DefaultSelector()
    selector.register(across.socket, selectors.EVENT_READ)
    selector.register(control.socket, selectors.EVENT_READ)
    while True:
        wait_s = mixer.deadline - monotonic()
        for key, _ in selector.select(None if wait_s == math.inf else max(0.0, wait_s)):
            if key.fileobj is across.socket:
                now_s = monotonic()
                for each in across.read(now_s):
                    mixer.receive(now_s, each.room, each.source, each.packet)
                continue
            messages = control.read()
            if messages is None:
                return
            for message in messages:
                mixer.perform(monotonic(), message)
        mixer.tick(monotonic())
        if control.wants_to_write:
            control.write()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fd", type=int)
    parser.add_argument("--across", type=int, metavar="FD", required=True)
    parser.add_argument("--log", default="WARNING")
    given = parser.parse_args()
    logging.basicConfig(level=given.log, format="%(asctime)s %(levelname).1s %(name)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # our end is control's to decide
    os.nice(NICENESS)
    control = ControlEnd(socket.socket(fileno=given.fd))
    with suppress(OSError):  # control ended with words of ours unread
        serve(control, inherited(given.across, ()))


if __name__ == "__main__":
    main()
