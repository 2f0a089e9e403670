"""What the one mix of a room costs the mixer (guest/mix.py), by how many speak.

Process time of all that happens in 20 ms: packets taken in, played, added up, encoded, and a fifth
of a cluster. The best of several rounds, as in voice_cost.py.
"""

from collections.abc import Callable
from itertools import cycle, islice
from typing import Final

from bench.figures import Figure
from bench.voice_cost import best_us, encoding
from p2phouse.guest.mix import RoomMix
from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS
from p2phouse.voice.plain import Plain
from tests.voice.speech import CLIPS, frames_of, librivox
from tests.voice.wire import Sent, speak

NAME = "room_mix"

VOICES: Final = (0, 1, 2, 4)
SLOTS: Final = tuple(map(Ssrc, range(11, 15)))


def mixing(sent: list[Sent], voices: int) -> Callable[[int], object]:
    """All talk without a pause, each at another place of the same speech."""
    mix = RoomMix(SLOTS, bytes, 0)
    spoken = [
        [
            Plain(PT_OPUS, False, n, FRAME_SAMPLES * n, Ssrc(voice + 1), 20, each.opus)
            for n, each in enumerate(islice(cycle(sent), 40 * voice, 40 * voice + len(sent)))
        ]
        for voice in range(voices)
    ]

    def step(n: int) -> bytes:
        for source, voice in enumerate(spoken, 1):
            mix.receive(n * FRAME_S, LinkNumber(source), voice[n])
        return mix.tick(n * FRAME_S + 0.010)

    return step


def run() -> list[Figure]:
    frames = [frame for clip in CLIPS for frame in frames_of(librivox(clip))]
    sent = speak(frames, sealed=True)  # a packet for each frame
    alone_us = best_us(lambda: encoding(frames), len(frames))
    figures = []
    for voices in VOICES:
        cost_us = best_us(lambda voices=voices: mixing(sent, voices), len(frames))  # type: ignore[misc]
        core = round(cost_us / FRAME_S / 10_000, 2)
        alone = round(alone_us / FRAME_S / 10_000, 2)
        what = f"a room in which {voices or 'nobody'} speak{'s' * (voices < 2)}"
        figures.append(
            Figure(what, core, "% of a core", "< 5", "one frame encoded by libopus", alone)
        )
    return figures
