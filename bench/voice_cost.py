"""What one frame of one voice costs in CPU, step by step, beside libopus called alone.

Process time, not wall time, and the best of several rounds: other programs of the machine slow a
round down and never speed one up.
"""

import random
import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Final

from nacl.signing import SigningKey

from bench.figures import Figure
from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, Frame
from p2phouse.voice import packet
from p2phouse.voice.audit import AuditReader, AuditWriter
from p2phouse.voice.jitter import Jitter
from p2phouse.voice.level import Talking, level_dbov
from p2phouse.voice.mix import Mixer
from p2phouse.voice.opus import Decoder, Encoder
from p2phouse.voice.outgoing import OutgoingVoice
from p2phouse.voice.packet import PT_OPUS, Packet
from p2phouse.voice.seal import SealKey, open_sealed, seal
from p2phouse.voice.stretch import PERIOD_MAX, Stretch
from tests.voice.speech import CLIPS, frames_of, librivox
from tests.voice.wire import BASE, KID, SID, SSRC, Sent, incoming, speak

NAME = "voice_cost"

ROUNDS: Final = 5
VOICES: Final = 7  # all others of the largest mesh


def best_us(begin: Callable[[], Callable[[int], object]], count: int) -> float:
    """CPU of one step in µs. begin: makes a fresh start and gives the step, called with 0, 1, …"""
    best = float("inf")
    for _ in range(ROUNDS):
        step = begin()
        started = time.process_time_ns()
        for n in range(count):
            step(n)
        best = min(best, (time.process_time_ns() - started) / count / 1_000)
    return round(best, 2)


def encoding(frames: list[Frame]) -> Callable[[int], object]:
    encoder = Encoder()
    return lambda n: encoder.encode(frames[n])


def decoding(sent: list[Sent]) -> Callable[[int], object]:
    decoder = Decoder()
    return lambda n: decoder.decode(sent[n].opus)


def measuring(frames: list[Frame]) -> Callable[[int], object]:
    talking = Talking()
    return lambda n: talking.hear(level_dbov(frames[n]))


def sealing(sent: list[Sent]) -> Callable[[int], object]:
    key = SealKey(KID, BASE)

    def step(n: int) -> bytes:
        payload = seal(key, n, sent[n].opus)
        return packet.build(Packet(PT_OPUS, False, n, 960 * n, SSRC, 20, True, payload))

    return step


def opening(sent: list[Sent]) -> Callable[[int], object]:
    keys = {KID: (SealKey(KID, BASE),)}
    return lambda n: open_sealed(keys, packet.parse(sent[n].data).payload)


def speaking(frames: list[Frame]) -> Callable[[int], object]:
    voice = OutgoingVoice(SID, entropy=bytes)
    voice.set(SSRC, SealKey(KID, BASE), muted=False, sealed=False)
    return lambda n: voice.next_packet(frames[n])


def receiving(sent: list[Sent]) -> Callable[[int], object]:
    voice = incoming()
    return lambda n: voice.receive(n * FRAME_S, sent[n].data)


def hearing(sent: list[Sent]) -> Callable[[int], object]:
    """Received and played: the steps that a heard voice costs."""
    voice = incoming()

    def step(n: int) -> Frame:
        voice.receive(n * FRAME_S, sent[n].data)
        return voice.pull(n * FRAME_S + 0.010)

    return step


def stretching(frames: list[Frame]) -> Callable[[int], object]:
    """A frame made shorter, or found unfit for it, before it is given."""
    stretch = Stretch()

    def step(n: int) -> Frame | None:
        stretch.take(frames[n])
        stretch.shorten(PERIOD_MAX)
        return stretch.give() if stretch.spare >= FRAME_SAMPLES else None

    return step


def learning(frames: list[Frame]) -> Callable[[int], object]:
    """One packet's transit into the histogram, and what is to be waited for out of it."""
    jitter, rng = Jitter(), random.Random(1)
    transits_s = [rng.expovariate(1 / 0.02) for _ in frames]

    def step(n: int) -> None:
        jitter.hear(n * FRAME_S, transits_s[n], marker=False)
        jitter.settle(n * FRAME_S)

    return step


def auditing(sent: list[Sent]) -> Callable[[int], object]:
    """The speaker's share of a frame: its tag, and each 17th time an audit."""
    writer = AuditWriter(SigningKey(bytes(32)))

    def step(n: int) -> bytes | None:
        writer.sent(n, sent[n].data)
        return writer.next_audit(n)

    return step


def judging(sent: list[Sent]) -> Callable[[int], object]:
    """A listener's share of a frame: its tag, the comparison, and each 17th time a signature."""
    step = auditing(sent)
    audits = [step(n) for n in range(len(sent))]
    reader = AuditReader(bytes(SigningKey(bytes(32)).verify_key))

    def judge(n: int) -> None:
        reader.hear(n * FRAME_S, n, sent[n].data)
        audit = audits[n]
        if isinstance(audit, bytes):
            reader.receive(n * FRAME_S, audit)
        reader.tick(n * FRAME_S)

    return judge


def mixing(frames: list[Frame], loudness: float) -> Callable[[int], object]:
    mixer = Mixer()
    loud = [loudness * frame for frame in frames]
    voices = [list(islice(cycle(loud), 40 * n, 40 * n + len(loud))) for n in range(VOICES)]
    return lambda n: mixer.mix([(voice[n], 1.0) for voice in voices])


def run() -> list[Figure]:
    frames = [frame for clip in CLIPS for frame in frames_of(librivox(clip))]
    sent = speak(frames, sealed=True)
    spoken = len(frames)
    encode = best_us(lambda: encoding(frames), spoken)
    decode = best_us(lambda: decoding(sent), spoken)
    receive = best_us(lambda: receiving(sent), spoken)
    heard = best_us(lambda: hearing(sent), spoken)
    said = best_us(lambda: speaking(frames), spoken)
    mixed = best_us(lambda: mixing(frames, 0.3), spoken)
    talk = said + VOICES * heard + mixed
    alone = encode + VOICES * decode
    note = f"read speech, {spoken} frames, best of {ROUNDS}"
    return [
        Figure("encode", encode, "µs", note=note),
        Figure("level and talking", best_us(lambda: measuring(frames), spoken), "µs"),
        Figure("seal and build", best_us(lambda: sealing(sent), spoken), "µs"),
        Figure("a voice out: all of these", said, "µs", "", "libopus alone", encode),
        Figure("parse and open", best_us(lambda: opening(sent), spoken), "µs"),
        Figure("receive: open, replay window, jitter", receive, "µs"),
        Figure("playout pull", round(heard - receive, 2), "µs", "", "libopus alone", decode),
        Figure("a voice in: all of these", heard, "µs", "", "libopus alone", decode),
        Figure("of it, the histogram of delays", best_us(lambda: learning(frames), spoken), "µs"),
        Figure(
            "a frame stretched, when delay has to change",
            best_us(lambda: stretching(frames), spoken),
            "µs",
            "< 500",
        ),
        Figure(
            "audits: tag and sign, a frame's share", best_us(lambda: auditing(sent), spoken), "µs"
        ),
        Figure(
            "audits: tag and check, a frame's share", best_us(lambda: judging(sent), spoken), "µs"
        ),
        Figure(f"mix of {VOICES} voices", mixed, "µs"),
        Figure(
            f"mix of {VOICES} voices, limiter at work",
            best_us(lambda: mixing(frames, 3.0), spoken),
            "µs",
        ),
        Figure(
            f"in a mesh of {VOICES + 1}, all talking at once",
            round(talk / FRAME_S / 10_000, 2),
            "% of a core",
            "",
            "libopus alone",
            round(alone / FRAME_S / 10_000, 2),
        ),
    ]
