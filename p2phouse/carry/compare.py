"""Does a hub bring what its standby has? Found out by the samples that a standby sends.

A link that lives is not silent, so repair.py would never notice a hub that leaves one speaker out,
holds packets back or writes into them, while it brings the others. One packet of each voice in 64
comes from the standby as well; the hub must bring the very same, and not much later.
"""

from dataclasses import dataclass, field
from typing import Final

from p2phouse.carry.table import Table
from p2phouse.vocabulary import LinkNumber, Ssrc

LATE_S: Final = 0.250  # a hub so much further away than its standby is not the right hub
FAILED_MAX: Final = 2  # in a row; at 10 % loss three are lost by chance each 20 minutes of talk
# Who forwards the loudest alone brings so many, and its standby may have chosen another for the
# last seat: then nothing follows from one that is missing.
CHOSEN_MIN: Final = 3
RECENT_S: Final = 3.0  # two samples of a voice that talks
SEQS_MAX: Final = 4  # kept of each voice and way: 5 s


@dataclass(slots=True)
class _Watched:
    """One voice, and what its two ways have brought of it by seq, the newest last."""

    ingress: LinkNumber
    standbys: tuple[LinkNumber, ...]
    brought: dict[int, bytes] = field(default_factory=dict)
    brought_s: float = -1e9  # when the ingress brought a sample last
    wanted: dict[int, tuple[float, bytes]] = field(default_factory=dict)  # to be judged
    failed: int = 0


class Compare:
    """Give it the samples as they come; `tick` says which ingresses fail their voices."""

    def __init__(self) -> None:
        self._voices: dict[Ssrc, _Watched] = {}

    def set_table(self, table: Table) -> None:
        before, self._voices = self._voices, {}
        for row in table.rows:
            if not row.standbys:
                continue
            known = before.get(row.ssrc)
            if known is None or (known.ingress, known.standbys) != (row.ingress, row.standbys):
                known = _Watched(row.ingress, row.standbys)
            self._voices[row.ssrc] = known

    def hear(self, now_s: float, link: LinkNumber, ssrc: Ssrc, seq: int, packet: bytes) -> None:
        """A sample came, by whichever way."""
        voice = self._voices.get(ssrc)
        if voice is None:
            return
        if link == voice.ingress:
            voice.brought_s = now_s
            # The last word counts: a hub may first send what is wrong, but then the true one too.
            voice.brought[seq] = packet
            if len(voice.brought) > SEQS_MAX:
                del voice.brought[next(iter(voice.brought))]
        elif link in voice.standbys and seq not in voice.wanted and len(voice.wanted) < SEQS_MAX:
            voice.wanted[seq] = (now_s, packet)

    def tick(self, now_s: float) -> frozenset[LinkNumber]:
        """The links that bring less, later or other than what their standbys have."""
        for voice in self._voices.values():
            for seq, (at, packet) in list(voice.wanted.items()):
                if voice.brought.get(seq) == packet:
                    voice.failed = 0
                elif now_s < at + LATE_S:
                    continue
                elif self._others_of(voice, at) < CHOSEN_MIN:
                    voice.failed += 1
                del voice.wanted[seq]
        return frozenset(v.ingress for v in self._voices.values() if v.failed > FAILED_MAX)

    def _others_of(self, voice: _Watched, at: float) -> int:
        """How many other voices its ingress brought at the time."""
        return sum(
            other is not voice
            and other.ingress == voice.ingress
            and other.brought_s > at - RECENT_S
            for other in self._voices.values()
        )
