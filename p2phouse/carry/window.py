"""Which packets of one voice were seen: the last 64 by seq, across its wrap.

The replay window of RFC 3711 §3.3.2 without a rollover counter: the nearer of the two readings of
a seq counts, as long as less than half of the 2^16 lies between.
"""

from typing import Final

from p2phouse.voice.packet import SEQ_MODULUS

# 1.28 s of one voice. Smaller than the window of the SRTP behind it (libsrtp: 128 or more), which
# would otherwise refuse to protect what this lets through.
WINDOW_PACKETS: Final = 64

_HALF: Final = SEQ_MODULUS // 2
_MASK: Final = (1 << WINDOW_PACKETS) - 1


class SeqWindow:
    """Tells a new packet from one that came before, or that is too old to know."""

    __slots__ = ("_newest", "_seen")

    def __init__(self) -> None:
        self._newest = -1
        self._seen = 0  # bit n: seq _newest - n was seen

    def ahead(self, seq: int) -> int:
        """By how much this seq would move the window on; 0 if it would not."""
        ahead = 0 if self._newest < 0 else (seq - self._newest) % SEQ_MODULUS
        return ahead if ahead < _HALF else 0

    def admit(self, seq: int) -> bool:
        """Whether this seq is new; it is not from then on."""
        if self._newest < 0:
            self._newest, self._seen = seq, 1
            return True
        ahead = (seq - self._newest) % SEQ_MODULUS
        if 0 < ahead < _HALF:
            # A leap of a window or more empties it; the shift must not make a huge number.
            self._seen = 1 if ahead >= WINDOW_PACKETS else (self._seen << ahead | 1) & _MASK
            self._newest = seq
            return True
        behind = -ahead % SEQ_MODULUS
        if behind >= WINDOW_PACKETS or self._seen >> behind & 1:
            return False
        self._seen |= 1 << behind
        return True
