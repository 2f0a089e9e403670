"""A crowd at a relay: speakers who speak and listeners who count what they hear, in one loop.

For rehearsals and measurements, against a relay of this machine alone (place.py). Listeners who
are in are looked at each LOOK_S, all together; arrival times are the kernel's, so that waiting
costs no exactness. Whoever is on its way in is served at once.
"""

import os
import select
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np

from p2phouse.errors import P2PHouseError
from p2phouse.link.handshake import Identity
from p2phouse.link.srtp import Receiving, open_sending, protect_one
from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, Ssrc
from p2phouse.voice.plain import Plain, build, parse
from p2phouse_relay.crowd.ears import Ears, Heard
from p2phouse_relay.crowd.guest import Guest, Stage, delete
from p2phouse_relay.crowd.offer import PAYLOAD_TYPE
from p2phouse_relay.crowd.place import Place
from p2phouse_relay.crowd.said import BYTES_MAX, BYTES_MIN, PAYLOAD_BYTES, payload_of, said_ns
from p2phouse_relay.crowd.tally import Tally
from p2phouse_relay.settings import PROCESSES_MAX

LISTENERS_MAX: Final = 5_000
VOICES_MAX: Final = 4
SECONDS_MAX: Final = 900.0
PROBE_EACH: Final = 8  # every so-manieth listener opens what it hears and looks at it
LOOK_S: Final = 0.004
TICK_S: Final = 0.020
CONSENT_S: Final = 5.0  # RFC 7675 §5.1
SILENT_S_MAX: Final = 5.0  # from the keys to the first packet
LINGER_S: Final = 1.0  # for what is still on its way when a count ends
FALL_BEHIND_S: Final = 0.050  # a speaker that was held up longer goes on from now
RTP_PADDED: Final = 0x20  # RFC 3550 §5.1: the last byte says by how many


class NobodySpeaks(P2PHouseError):
    """A speaker of the crowd did not get in: {reason}."""


class Abandoned(P2PHouseError):
    """Nobody is there any more who asked for this crowd."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Of one call of `join`; times in ms from a guest's first byte of HTTP."""

    asked: int
    joined: int
    refused: int  # by HTTP 503
    failed: int
    reason: str  # of the first that failed
    all_in_s: float  # until the last had its first packet
    keys_ms_p50: float
    sound_ms_p50: float
    sound_ms_p99: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Between `mark` and `tell`, of those who were in at the mark."""

    listeners: int
    seconds: float
    sent: int  # packets of all voices
    packets: int  # that came to any listener
    expected: int
    lost: int
    duplicated: int
    reordered: int
    silent: int
    lost_worst: int
    foreign: int  # of no voice that was announced
    opened: int
    unopened: int  # SRTP that did not open
    wrong: int  # that opened, and was not what was said
    octets: int  # of SRTP that opened
    padding: int  # of these, after what was said
    delay_ms_p50: float
    delay_ms_p99: float
    delay_ms_max: float
    unanswered: int  # checks for consent in a row, of whoever waits longest
    cpu_s: float  # this process's own

    @property
    def loss(self) -> float:
        return self.lost / self.expected if self.expected else 1.0


class _Speaker:
    """Says a packet each 20 ms, which tells who, which and when, and can be checked."""

    def __init__(self, voice: int, guest: Guest, due_s: float, lengths: Sequence[int]) -> None:
        """lengths: of its packets, over and over."""
        assert guest.keys is not None
        assert guest.ssrc is not None
        self._ssrc = guest.ssrc
        self.voice = voice
        self.due_s = due_s
        self._guest = guest
        self._handle = open_sending(guest.keys)
        self._lengths = lengths
        self._number = 0
        self._seq = int.from_bytes(os.urandom(2)) // 4

    def say(self) -> None:
        length = self._lengths[self._number % len(self._lengths)]
        payload = payload_of(self.voice, self._number, time.time_ns(), length)
        stamp = self._number * FRAME_SAMPLES % 2**32
        seq = (self._seq + self._number) % 2**16
        packet = build(Plain(PAYLOAD_TYPE, False, seq, stamp, self._ssrc, 30, payload))
        data = protect_one(self._handle, packet)
        assert data is not None
        self._number += 1
        with suppress(OSError):  # the relay is gone; listeners will miss it
            self._guest.udp.send(data)


class Crowd:
    """`turn` is its loop; all else begins something and turns until it is done.

    Everybody has a row: the speakers the first, listeners those behind them.
    """

    def __init__(
        self, place: Place, *, room: str, token: str = "", listeners_max: int, voices: int
    ) -> None:
        """Raises ears.NotHere."""
        assert 0 < listeners_max <= LISTENERS_MAX
        assert 0 < voices <= VOICES_MAX
        rows_max = listeners_max + voices
        self._place = place
        self._room = room
        self._token = token
        self._voices = voices
        self._identity = Identity()
        self._guests: list[Guest] = []  # by row
        self._listeners_left = listeners_max
        self._joining = select.epoll()
        self._waiting: dict[int, tuple[int, Guest]] = {}  # by descriptor: its mask, and whose it is
        self._ears = Ears(rows_max)
        self._tally = Tally(rows_max, voices, PROCESSES_MAX)
        self._processes: dict[int, int] = {}  # of the relay, by port, as they were met
        self._ssrcs = np.zeros(0, np.uint32)
        self._probes: dict[int, Receiving] = {}  # by row
        self._is_probe = np.zeros(rows_max, bool)
        self._unanswered = np.zeros(rows_max, np.int64)  # checks in a row
        self._asks: deque[tuple[float, int]] = deque()  # when, of which row
        self._speakers: list[_Speaker] = []
        self._look_s = self._tick_s = 0.0
        self._round_s = 0.0  # of those who are heard now
        self.has_left = False
        self._watched = -1
        self._begin_measure([])

    # ── what can be asked ────────────────────────────────────────────────────────────────────

    def speak(self, lengths: Sequence[Sequence[int]] = ()) -> None:
        """All voices begin. lengths: of what is said in the packets of each, over and over; without
        them all are of PAYLOAD_BYTES. Raises NobodySpeaks."""
        assert not self._guests
        lengths = lengths or [[PAYLOAD_BYTES]] * self._voices
        assert len(lengths) == self._voices
        assert all(BYTES_MIN <= each <= BYTES_MAX for one in lengths for each in one)
        for voice in range(self._voices):
            guest = self._new(f"/whip/{self._room}/voice-{voice}", is_speaker=True)
            self._begin(guest)
            self._until(lambda guest=guest: guest.stage in (Stage.IN, Stage.FAILED))  # type: ignore[misc]
            if guest.stage is Stage.FAILED:
                raise NobodySpeaks(reason=guest.reason)
        # One after the other, as voices of people do not fall together.
        now_s = time.monotonic()
        for voice, guest in enumerate(self._guests):
            due_s = now_s + voice * FRAME_S / self._voices
            self._speakers.append(_Speaker(voice, guest, due_s, lengths[voice]))

    def join(self, listeners: int, *, at_once: int, per_s: float = inf) -> Joined:
        """Listeners come, and are waited for until each has a packet or has failed; if nobody
        speaks, until each has its keys.

        at_once: how many may be on their way. per_s: how many may begin in a second.
        """
        listeners = min(listeners, self._listeners_left)
        self._listeners_left -= listeners
        coming = [self._new(f"/whep/{self._room}") for _ in range(listeners)]
        began_s = time.monotonic()
        begun, on_their_way = 0, list[Guest]()
        while begun < listeners or on_their_way:
            now_s = time.monotonic()
            on_their_way = [each for each in on_their_way if not _is_there(each, now_s)]
            allowed = min(listeners, 1 + (now_s - began_s) * per_s)
            while begun < allowed and len(on_their_way) < at_once:
                self._begin(coming[begun])
                on_their_way.append(coming[begun])
                begun += 1
            self.turn()
        return _joined(coming, began_s)

    def rest(self, seconds: float) -> None:
        """Goes on for so long."""
        end_s = time.monotonic() + min(seconds, SECONDS_MAX)
        self._until(lambda: time.monotonic() >= end_s)

    def mark(self) -> None:
        """What is measured begins now."""
        self._begin_measure(
            [
                row
                for row, guest in enumerate(self._guests)
                if guest.stage is Stage.IN and guest.ssrc is None
            ]
        )

    def tell(self) -> Measured:
        """What was measured since the mark."""
        seconds = time.monotonic() - self._marked_s
        self._tally.close()
        self._is_open = False
        cpu_s = time.process_time() - self._cpu_s
        self.rest(LINGER_S)
        counts = self._tally.counts()
        p50, p99, most = np.percentile(np.array(self._delays_ms or [0.0]), [50, 99, 100])
        return Measured(
            listeners=self._marked,
            seconds=round(seconds, 3),
            sent=self._sent,
            packets=self._packets,
            expected=counts.expected,
            lost=counts.lost,
            duplicated=counts.duplicated,
            reordered=counts.reordered,
            silent=counts.silent,
            lost_worst=counts.lost_worst,
            foreign=self._foreign,
            opened=len(self._delays_ms),
            unopened=self._unopened,
            wrong=self._wrong,
            octets=self._octets,
            padding=self._padding,
            delay_ms_p50=round(float(p50), 3),
            delay_ms_p99=round(float(p99), 3),
            delay_ms_max=round(float(most), 3),
            unanswered=int(self._unanswered.max()),
            cpu_s=round(cpu_s, 3),
        )

    def leave(self) -> None:
        """Everybody says goodbye."""
        for guest in self._guests:
            if guest.stage is Stage.IN:
                delete(self._place, guest.number, guest.location)
        self.close()

    def close(self) -> None:
        self.has_left = True
        self._speakers.clear()
        for guest in self._guests:
            guest.close()
        self._ears.close()
        self._joining.close()

    def watch(self, fd: int) -> None:
        """`turn` returns at once when this is readable, and raises Abandoned when it has ended."""
        self._watched = fd
        self._joining.register(fd, select.EPOLLIN)

    # ── the loop ─────────────────────────────────────────────────────────────────────────────

    def turn(self) -> None:
        """Waits for the next thing to do, and does it."""
        due_s = min([self._look_s, self._tick_s, *(each.due_s for each in self._speakers)])
        for fd, events in self._joining.poll(max(0.0, due_s - time.monotonic())):
            if fd == self._watched and not events & select.EPOLLIN:
                raise Abandoned
            if fd in self._waiting:
                guest = self._waiting[fd][1]
                guest.act(time.monotonic())
                self._wait(fd, guest)
        for speaker in self._speakers:
            now_s = time.monotonic()
            if now_s >= speaker.due_s:
                is_late = now_s > speaker.due_s + FALL_BEHIND_S
                speaker.due_s = FRAME_S + (now_s if is_late else speaker.due_s)
                speaker.say()
                self._sent += self._is_open
        now_s = time.monotonic()
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            self._round_s = now_s
            for heard in self._ears.listen():
                self._hear(heard)
        if now_s >= self._tick_s:
            self._tick_s = now_s + TICK_S
            self._tick(now_s)

    def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self.turn()

    def _tick(self, now_s: float) -> None:
        for fd, (_, guest) in list(self._waiting.items()):
            guest.tick(now_s)
            self._wait(fd, guest)
        while self._asks and self._asks[0][0] <= now_s:
            _, row = self._asks.popleft()
            self._unanswered[row] += 1
            self._guests[row].ask()
            self._asks.append((now_s + CONSENT_S, row))

    # ── on the way in ────────────────────────────────────────────────────────────────────────

    def _new(self, path: str, *, is_speaker: bool = False) -> Guest:
        guest = Guest(
            len(self._guests),
            self._place,
            self._identity,
            path,
            lines=1 if is_speaker else self._voices,
            ssrc=Ssrc(int.from_bytes(os.urandom(4)) | 1) if is_speaker else None,
            token=self._token if is_speaker else "",
        )
        self._guests.append(guest)
        return guest

    def _begin(self, guest: Guest) -> None:
        guest.begin(time.monotonic())
        self._wait(-1, guest)

    def _wait(self, fd: int, guest: Guest) -> None:
        """For whatever it waits now; fd: on which it waited until now."""
        if guest.stage in (Stage.IN, Stage.FAILED):
            if self._waiting.pop(fd, None) is not None:
                with suppress(OSError):  # it is closed already, and nobody's any more
                    self._joining.unregister(fd)
            if guest.stage is Stage.IN:
                self._enter(guest)
            return
        sock, mask = guest.waits_on
        now = sock.fileno()
        if self._waiting.get(now) == (mask, guest):
            return
        if now == fd:
            self._joining.modify(fd, mask)
        else:
            if self._waiting.pop(fd, None) is not None:
                with suppress(OSError):
                    self._joining.unregister(fd)
            self._joining.register(now, mask)
        self._waiting[now] = mask, guest

    def _enter(self, guest: Guest) -> None:
        row = guest.number
        assert guest.keys is not None
        assert guest.answer is not None
        if guest.ssrc is None:
            self._ssrcs = np.array(guest.answer.ssrcs, np.uint32)  # the same for all of a room
            port = guest.answer.candidates[0][1]
            self._tally.place(row, self._processes.setdefault(port, len(self._processes)))
            if row % PROBE_EACH == 0:
                self._probes[row] = Receiving(guest.keys)
                self._is_probe[row] = True
        if not self._speakers:
            guest.first_s = guest.in_s
        self._ears.add(row, guest.udp, is_timed=row in self._probes)
        self._asks.append((time.monotonic() + CONSENT_S, row))

    # ── what is heard ────────────────────────────────────────────────────────────────────────

    def _begin_measure(self, rows: list[int]) -> None:
        self._marked = len(rows)
        self._marked_s = time.monotonic()
        self._cpu_s = time.process_time()
        self._is_open = True
        self._was_in = np.zeros(len(self._is_probe), bool)
        self._was_in[rows] = True
        self._tally.mark(np.array(rows, np.int64))
        self._delays_ms = array("d")
        self._sent = self._packets = self._foreign = self._unopened = self._wrong = 0
        self._octets = self._padding = 0

    def _hear(self, heard: Heard) -> None:
        rows, heads = heard.rows, heard.heads
        kinds, types = heads[:, 0], heads[:, 1]
        is_rtp = (kinds > 127) & (kinds < 192) & ((types < 192) | (types > 223))
        for row in rows[~is_rtp].tolist():
            self._hear_other(row, heard.place)
        rows, heads = rows[is_rtp], heads[is_rtp]
        ssrcs = heads[:, 8:12].copy().view(">u4")[:, 0]
        is_of = ssrcs[:, None] == self._ssrcs[None, :]
        is_known = is_of.any(axis=1)
        self._foreign += int((~is_known).sum())
        rows, heads, voices = rows[is_known], heads[is_known], is_of[is_known].argmax(axis=1)
        if not len(rows):
            return
        seqs = heads[:, 2].astype(np.int64) << 8 | heads[:, 3]
        for row in self._tally.add(rows, voices, seqs).tolist():
            if not self._guests[row].first_s:
                self._guests[row].first_s = self._round_s
        if self._is_open:
            self._packets += len(rows)
            for row in rows[self._is_probe[rows] & self._was_in[rows]].tolist():
                self._open(row, heard.place)

    def _open(self, row: int, place: int) -> None:
        """SRTP of a listener who looks at what it hears."""
        data = self._ears.data(row, place)
        plain = self._probes[row].open(data)
        if plain is None:
            self._unopened += 1
            return
        self._octets += len(data)
        self._padding += plain[-1] if plain[0] & RTP_PADDED else 0
        said = said_ns(parse(plain).payload)
        if said is None:
            self._wrong += 1
        else:
            self._delays_ms.append((self._ears.stamp_ns(row, place) - said) / 1e6)

    def _hear_other(self, row: int, place: int) -> None:
        data = self._ears.data(row, place)
        if data and data[0] < 4 and self._guests[row].control(data):
            self._unanswered[row] = 0


def _is_there(guest: Guest, now_s: float) -> bool:
    """Whether nobody need wait for it any more."""
    if guest.stage is Stage.IN and not guest.first_s:
        return now_s > guest.in_s + SILENT_S_MAX
    return guest.stage in (Stage.IN, Stage.FAILED)


def _joined(coming: Sequence[Guest], began_s: float) -> Joined:
    there = [each for each in coming if each.first_s]
    failed = [each for each in coming if not each.first_s]
    keys_ms = [1_000 * (each.in_s - each.began_s) for each in there]
    sound_ms = [1_000 * (each.first_s - each.began_s) for each in there]
    refused = sum(each.status == 503 for each in failed)
    return Joined(
        asked=len(coming),
        joined=len(there),
        refused=refused,
        failed=len(failed) - refused,
        reason=next((each.reason or "no packet came" for each in failed), ""),
        all_in_s=round(max((each.first_s for each in there), default=began_s) - began_s, 3),
        keys_ms_p50=_percentile(keys_ms, 50),
        sound_ms_p50=_percentile(sound_ms, 50),
        sound_ms_p99=_percentile(sound_ms, 99),
    )


def _percentile(values: Sequence[float], part: float) -> float:
    return round(float(np.percentile(values, part)), 2) if values else 0.0
