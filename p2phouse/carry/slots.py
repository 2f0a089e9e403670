"""Who of a guest room's speakers is heard in which slot, and what their packets look like there.

A guest's browser knows the room as one to four voices that are always the same: a slot. Speakers
come and go behind it. With no more speakers than slots each keeps one; otherwise the loudest have
them, and a slot stays with who has it for HOLD_S, so that words are not cut. Pure.

A slot's seq never repeats and never goes back, whoever holds it: all listeners are sent the same
header, so one window here guards every listener's key against a second packet of one seq.
"""

from math import inf
from typing import Final

from p2phouse.carry.window import SeqWindow
from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, Entropy, LinkNumber, Ssrc
from p2phouse.voice.packet import (
    PT_OPUS,
    SEQ_MODULUS,
    SEQ_START_MAX,
    TIMESTAMP_MODULUS,
    wraps_soon,
)
from p2phouse.voice.plain import Plain

HOLD_S: Final = 0.800  # a pause for breath is shorter
TALKING_DBOV: Final = 50  # louder than this is no room noise
OVER: Final = 4.0  # 6 dB in power: two people who are about as loud do not take turns
KEEP: Final = 0.9  # of the mean power, for each packet of 20 ms: a word, not a syllable
LEAP_MAX: Final = 3_000  # RFC 3550 §A.1: a greater one is a new start, no loss

# A slot that is about to wrap is begun for no listener. One in which nobody speaks would keep them
# out for good: it skips those seqs when it goes on.
SILENT_S: Final = 1.0

_POWERS: Final = tuple(10 ** (-dbov / 10) for dbov in range(128))


class _Speaker:
    __slots__ = ("power", "talked_s")

    def __init__(self) -> None:
        self.power = 0.0
        self.talked_s = -inf


class _Slot:
    __slots__ = ("first", "holder", "in_seq", "seq", "seq_apart", "since_s", "ssrc", "stamp",
                 "stamp_apart", "stamp_s", "window")  # fmt: skip

    def __init__(self, ssrc: Ssrc, entropy: Entropy) -> None:
        self.ssrc = ssrc
        self.holder: LinkNumber | None = None
        self.since_s = -inf  # when it was given to its holder
        self.seq = int.from_bytes(entropy(2)) % (SEQ_START_MAX + 1)  # highest that went out
        self.stamp = int.from_bytes(entropy(4))
        self.stamp_s = -inf  # when it went out
        self.first = self.in_seq = 0  # of the holder's seqs: the first and the highest
        self.seq_apart = self.stamp_apart = 0  # what is added to the holder's
        self.window = SeqWindow()

    @property
    def wraps_soon(self) -> bool:
        return wraps_soon(self.seq)

    def is_silent(self, now_s: float) -> bool:
        return now_s > self.stamp_s + SILENT_S


class Slots:
    """Give it every packet of every speaker; it says in which slot it goes out, and how."""

    def __init__(self, ssrcs: tuple[Ssrc, ...], entropy: Entropy) -> None:
        self._slots = [_Slot(ssrc, entropy) for ssrc in ssrcs]
        self._held: dict[LinkNumber, _Slot] = {}
        self._speakers: dict[LinkNumber, _Speaker] = {}

    def may_begin(self, now_s: float) -> bool:
        """Whether a listener may be added now: no slot is about to wrap as somebody speaks."""
        return all(not slot.wraps_soon or slot.is_silent(now_s) for slot in self._slots)

    @property
    def holders(self) -> tuple[LinkNumber | None, ...]:
        """Who has each slot."""
        return tuple(slot.holder for slot in self._slots)

    def place(self, now_s: float, link: LinkNumber, packet: Plain) -> Plain | None:
        """The packet as it goes out in its slot; None if it is not heard."""
        speaker = self._speakers.get(link)
        if speaker is None:
            speaker = self._speakers[link] = _Speaker()
        speaker.power += (_POWERS[packet.level] - speaker.power) * (1 - KEEP)
        if packet.level <= TALKING_DBOV:
            speaker.talked_s = now_s
        slot = self._held.get(link)
        is_new = slot is None
        if slot is None:
            slot = self._find(now_s, speaker, talks=packet.level <= TALKING_DBOV)
            if slot is None:
                return None
            self._give(now_s, slot, link)
        ahead = (packet.seq - slot.in_seq) % SEQ_MODULUS
        skips = slot.wraps_soon and slot.is_silent(now_s)
        if is_new or skips or LEAP_MAX < ahead < SEQ_MODULUS - LEAP_MAX:
            self._join(now_s, slot, packet)
            is_new = True
        elif ahead < LEAP_MAX:
            slot.in_seq = packet.seq
        elif (packet.seq - slot.first) % SEQ_MODULUS > SEQ_MODULUS // 2:
            return None  # from before it had the slot: its seq is another's there
        return self._out(now_s, slot, packet, begins=is_new)

    def leave(self, link: LinkNumber) -> None:
        """A speaker is gone, if it ever was here."""
        self._speakers.pop(link, None)
        slot = self._held.pop(link, None)
        if slot is not None:
            slot.holder = None

    def _find(self, now_s: float, speaker: _Speaker, *, talks: bool) -> _Slot | None:
        """The slot that a speaker without one is given."""
        for slot in self._slots:
            if slot.holder is None:
                return slot
        if not talks:
            return None
        may_go = [slot for slot in self._slots if now_s >= slot.since_s + HOLD_S]
        holders = [
            (self._speakers[slot.holder], slot) for slot in may_go if slot.holder is not None
        ]
        quiet = [
            (h.talked_s, n) for n, (h, _) in enumerate(holders) if now_s >= h.talked_s + HOLD_S
        ]
        if quiet:
            return holders[min(quiet)[1]][1]
        if not holders:
            return None
        weakest, slot = min(holders, key=lambda each: each[0].power)
        return slot if speaker.power > weakest.power * OVER else None

    def _give(self, now_s: float, slot: _Slot, link: LinkNumber) -> None:
        if slot.holder is not None:
            del self._held[slot.holder]
        slot.holder, slot.since_s = link, now_s
        self._held[link] = slot

    def _join(self, now_s: float, slot: _Slot, packet: Plain) -> None:
        """The holder's first packet follows what went out before, as if time had gone on there."""
        frames = 1
        if slot.stamp_s > -inf:
            frames = max(1, round((now_s - slot.stamp_s) / FRAME_S))
        if slot.wraps_soon and slot.is_silent(now_s):
            slot.seq = SEQ_MODULUS - 1
        slot.first = slot.in_seq = packet.seq
        slot.seq_apart = (slot.seq + 1 - packet.seq) % SEQ_MODULUS
        stamp = slot.stamp + frames * FRAME_SAMPLES
        slot.stamp_apart = (stamp - packet.timestamp) % TIMESTAMP_MODULUS

    def _out(self, now_s: float, slot: _Slot, packet: Plain, *, begins: bool) -> Plain | None:
        seq = (packet.seq + slot.seq_apart) % SEQ_MODULUS
        # Security: no seq goes out twice, else a nonce of AES-GCM would repeat for every listener.
        # Test: test_slots.py::test_whatever_comes_no_slot_repeats_a_seq
        if not slot.window.admit(seq):
            return None
        stamp = (packet.timestamp + slot.stamp_apart) % TIMESTAMP_MODULUS
        if begins or 0 < (seq - slot.seq) % SEQ_MODULUS < SEQ_MODULUS // 2:
            slot.seq, slot.stamp, slot.stamp_s = seq, stamp, now_s
        marker = begins or packet.marker
        return Plain(PT_OPUS, marker, seq, stamp, slot.ssrc, packet.level, packet.payload)
