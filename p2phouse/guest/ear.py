"""Opens the voices of a room of nodes for guests, who are sent plain Opus: each frame once for all.

Of a room whose keys are public alone; of a sealed one nobody tells us a key. What a member's own
ear asks of a packet is asked here as well (voice/opened.py). A voice is known to the guests' room
by its SSRC made negative, which is no link's number. While no guest listens nothing is opened.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from p2phouse.errors import PeerError
from p2phouse.guest.room import GuestRoom
from p2phouse.vocabulary import LinkNumber, Ssrc
from p2phouse.voice.keyring import KeyRing, KeyRow
from p2phouse.voice.opened import OpenedVoice
from p2phouse.voice.packet import HEADER_BYTES, LEVEL_ID, PT_OPUS, SEQ_MODULUS

AUDITS_KEPT: Final = 8  # of two seconds and more: no frame that comes later is played


class _Seqs:
    """Audits have seqs of their voice, and guests are not sent them: to a player they would be lost
    packets, for which it waits. So those of the frames close ranks."""

    def __init__(self) -> None:
        self._newest: int | None = None
        self._left_out = 0
        self._recent: deque[int] = deque(maxlen=AUDITS_KEPT)  # the last seqs that were left out

    def leave_out(self, seq: int) -> None:
        """An audit. One that came late has left a gap already."""
        if self._newest is None or 0 < (seq - self._newest) % SEQ_MODULUS < SEQ_MODULUS // 2:
            self._newest = seq
            self._left_out += 1
            self._recent.append(seq)

    def of(self, seq: int) -> int:
        """A frame's, as guests see it."""
        if self._newest is None or 0 < (seq - self._newest) % SEQ_MODULUS < SEQ_MODULUS // 2:
            self._newest = seq
        after = sum((each - seq) % SEQ_MODULUS < SEQ_MODULUS // 2 for each in self._recent)
        return (seq - self._left_out + after) % SEQ_MODULUS


class _Voice(NamedTuple):
    opened: OpenedVoice
    seqs: _Seqs


def source_of(ssrc: Ssrc) -> LinkNumber:
    """How a guests' room knows the voice of a node."""
    return LinkNumber(-ssrc)


class Ear:
    """`hear` is given every packet that may be heard here; call `tick` each 20 ms."""

    def __init__(self, failed: Callable[[Ssrc], None]) -> None:
        """failed: told once of a voice that somebody else has spoken with."""
        self._failed = failed
        self._keys = KeyRing()
        self._voices: dict[Ssrc, _Voice] = {}
        self._forged: set[Ssrc] = set()
        self._guests: GuestRoom | None = None
        self.refused = 0  # packets: forged, replayed, impossible, or under no key of ours

    def lead_to(self, guests: GuestRoom | None) -> None:
        """Who hears what is opened; None: nobody."""
        self._rest()
        self._guests = guests

    def set_keys(self, rows: Iterable[KeyRow]) -> None:
        """Replaces all."""
        self._keys.set(rows)
        self._forged = {ssrc for ssrc in self._forged if ssrc in self._keys}
        for ssrc, voice in list(self._voices.items()):
            # Security: whoever may speak no more has no key here, and is heard no more.
            # Test: test_ear.py::test_a_voice_without_a_key_is_heard_no_more
            if ssrc in self._keys:
                self._keys.give(voice.opened)
            else:
                self._end(ssrc)

    def hear(self, now_s: float, ssrc: Ssrc, packet: bytes) -> None:
        """Raises nothing."""
        guests = self._guests
        if guests is None or not guests.is_heard:
            return
        voice = self._voices.get(ssrc) or self._begin(guests, ssrc)
        if voice is None:
            return
        try:
            heard = voice.opened.receive(now_s, packet)
        except PeerError:
            self.refused += 1
            return
        if heard is None:
            return
        seq = heard.packet.seq
        if heard.frame is None:
            voice.seqs.leave_out(seq)
        elif not voice.opened.doubted:
            # The header is one that browsers read: its seq and what was sealed alone differ.
            head = packet[:2] + voice.seqs.of(seq).to_bytes(2) + packet[4:HEADER_BYTES]
            guests.receive(now_s, source_of(ssrc), head + heard.frame)

    def tick(self, now_s: float) -> None:
        if self._guests is None or not self._guests.is_heard:
            self._rest()
            return
        for ssrc, voice in list(self._voices.items()):
            voice.opened.tick(now_s)
            # Security: guests hear no voice that somebody else has spoken with.
            # Test: test_ear.py::test_a_forged_voice_is_heard_no_more_and_told_of
            if voice.opened.forged:
                self._end(ssrc)
                self._forged.add(ssrc)
                self._failed(ssrc)

    def _begin(self, guests: GuestRoom, ssrc: Ssrc) -> _Voice | None:
        if ssrc not in self._keys or ssrc in self._forged:
            return None
        voice = self._voices[ssrc] = _Voice(OpenedVoice(ssrc), _Seqs())
        self._keys.give(voice.opened)
        guests.add_speaker(source_of(ssrc), PT_OPUS, LEVEL_ID)
        return voice

    def _end(self, ssrc: Ssrc) -> None:
        del self._voices[ssrc]
        if self._guests is not None:
            self._guests.remove(source_of(ssrc))

    def _rest(self) -> None:
        """Nobody listens: what comes then begins anew."""
        for ssrc in list(self._voices):
            self._end(ssrc)
