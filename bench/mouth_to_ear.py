"""Click in to click out between two media processes, and through aiortc's own receiver."""

import asyncio
import fractions
import tempfile
import time
import wave
from pathlib import Path

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from bench.figures import Figure
from bench.wire import Wire
from p2phouse import channel
from p2phouse.channel import LinkRole, LinkStatus, VoiceCondition
from p2phouse.sound.files import load, to_float
from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ, LinkNumber
from tests.engine.child import MediaChild

NAME = "mouth_to_ear"
CLICKS = 24
CLICK_EACH_S = 0.5
CLICK_SAMPLES = 480  # 10 ms of 1 kHz, over a hum that keeps DTX from stopping the packets
LOST_AT = CLICKS // 2


def clicks() -> NDArray[np.float32]:
    """A click at each half second, over a hum 46 dB under it."""
    count = int((CLICKS * CLICK_EACH_S + 1) * SAMPLE_RATE_HZ)
    at = np.arange(count)
    sound = 0.004 * np.sin(2 * np.pi * 180 * at / SAMPLE_RATE_HZ)
    burst = 0.8 * np.sin(2 * np.pi * 1_000 * np.arange(CLICK_SAMPLES) / SAMPLE_RATE_HZ)
    for number in range(CLICKS):
        start = int((number + 1) * CLICK_EACH_S * SAMPLE_RATE_HZ)
        sound[start : start + CLICK_SAMPLES] += burst
    return sound.astype(np.float32)


def onsets(sound: NDArray[np.float32]) -> list[int]:
    """The sample at which each click begins."""
    loud = np.flatnonzero(np.abs(sound) > 0.1)
    starts: list[int] = []
    for at in loud:
        if not starts or at - starts[-1] > SAMPLE_RATE_HZ // 4:
            starts.append(int(at))
    return starts


def delays_ms(
    sent: NDArray[np.float32], spoken_s: float, heard: NDArray[np.float32], played_s: float
) -> list[float]:
    """Of each click that came: from its first sample spoken to its first sample heard."""
    found = [played_s + at / SAMPLE_RATE_HZ for at in onsets(heard)]
    result = []
    for at in onsets(sent):
        spoken = spoken_s + at / SAMPLE_RATE_HZ
        later = [time_s for time_s in found if 0 < time_s - spoken < CLICK_EACH_S * 0.9]
        if later:
            result.append(1_000 * (later[0] - spoken))
    return result


def two_processes(folder: Path) -> list[float]:
    """Through ICE, DTLS-SRTP, Opus, SFrame and the playout of two engines; one packet is lost."""
    clip = folder / "clicks.wav"
    sent = clicks()
    with wave.open(str(clip), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes((sent * 32_767).astype("<i2").tobytes())
    ana, ben = MediaChild("ana"), MediaChild("ben")
    wire = Wire()
    link = LinkNumber(1)
    try:
        ana.say(channel.OpenLink(link, LinkRole.OFFERER, False))
        ben.say(channel.OpenLink(link, LinkRole.ANSWERER, False))
        at_ana, at_ben = ana.next(channel.LocalDescription), ben.next(channel.LocalDescription)
        ana.say(
            channel.ConnectLink(link, at_ben.ufrag, at_ben.pwd, at_ben.fp, wire.near_of(at_ben))
        )
        ben.say(channel.ConnectLink(link, at_ana.ufrag, at_ana.pwd, at_ana.fp, wire.far_of(at_ana)))
        for child in (ana, ben):
            assert child.next(channel.LinkState).status is LinkStatus.CONNECTED
            child.speak()
        ana.mesh(link, ben)
        ben.mesh(link, ana)
        heard_path = folder / "heard.wav"
        ben.say(channel.SetOutput(f"file:{heard_path}"))
        ben.next(channel.VoiceState, condition=VoiceCondition.OUTPUT_STARTED)
        played_s = _began(ben, "played_age_us")
        ana.say(channel.SetInput(f"file:{clip}"))
        ana.next(channel.VoiceState, condition=VoiceCondition.INPUT_STARTED)
        spoken_s = _began(ana, "captured_age_us")
        lose_at = spoken_s + (LOST_AT + 0.5) * CLICK_EACH_S
        wire.drop = lambda datagram: (
            127 < datagram[0] < 192
            and datagram[1] & 0x7F == 111
            and time.monotonic() > lose_at
            and wire.dropped == 0
        )
        ana.next(channel.VoiceState, within_s=60, condition=VoiceCondition.INPUT_ENDED)
        ben.latest_stats()
        ben.say(channel.SetOutput("none"))
        ben.next(channel.VoiceState, condition=VoiceCondition.OUTPUT_ENDED)
        assert wire.dropped == 1
        return delays_ms(sent, spoken_s, to_float(load(str(heard_path))), played_s)
    finally:
        ana.end()
        ben.end()
        wire.close()


def _began(child: MediaChild, age: str) -> float:
    """When the running input or output began: reports are late, never early, so the earliest."""
    began: list[float] = []
    for _ in range(2):
        stats = child.latest_stats()
        began.append(time.monotonic() - int(getattr(stats, age)) / 1e6)
    return min(began)


class ClickTrack(MediaStreamTrack):  # type: ignore[misc]
    kind = "audio"

    def __init__(self, sound: NDArray[np.float32]) -> None:
        super().__init__()
        self._samples = (sound * 32_767).astype(np.int16)
        self._at = 0
        self.spoken_s = 0.0

    async def recv(self) -> av.AudioFrame:
        if not self._at:
            self.spoken_s = time.monotonic() - 0.020
        due = self.spoken_s + (self._at + FRAME_SAMPLES) / SAMPLE_RATE_HZ
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        taken = self._samples[self._at : self._at + FRAME_SAMPLES]
        if len(taken) < FRAME_SAMPLES:
            raise MediaStreamError
        frame = av.AudioFrame.from_ndarray(taken[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, self._at
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE_HZ)
        self._at += FRAME_SAMPLES
        return frame


async def aiortc_alone() -> list[float]:
    """The same clicks through aiortc's encoder, jitter buffer and decoder; one packet is lost."""
    sent = clicks()
    settings = RTCConfiguration(iceServers=[])
    speaker, listener = RTCPeerConnection(settings), RTCPeerConnection(settings)
    track = ClickTrack(sent)
    sender = speaker.addTrack(track)
    found: list[tuple[float, NDArray[np.float32]]] = []

    async def listen(heard: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await heard.recv()
                values = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)[:, 0]
                found.append((time.monotonic(), values.astype(np.float32) / 32_768))
        except MediaStreamError:
            return

    listening: list[asyncio.Task[None]] = []
    listener.on("track", lambda heard: listening.append(asyncio.ensure_future(listen(heard))))
    await speaker.setLocalDescription(await speaker.createOffer())
    await listener.setRemoteDescription(speaker.localDescription)
    await listener.setLocalDescription(await listener.createAnswer())
    await speaker.setRemoteDescription(listener.localDescription)
    transport = sender.transport
    send, lost = transport._send_rtp, [0]

    async def lose_one(data: bytes) -> None:
        is_voice = data[1] & 0x7F < 64 or data[1] & 0x7F > 95
        late = track.spoken_s and time.monotonic() > track.spoken_s + (LOST_AT + 0.5) * CLICK_EACH_S
        if is_voice and late and not lost[0]:
            lost[0] = 1
            return
        await send(data)

    transport._send_rtp = lose_one
    await asyncio.sleep(CLICKS * CLICK_EACH_S + 2)
    for task in listening:
        task.cancel()
    await speaker.close()
    await listener.close()
    # A frame is heard from the moment at which the receiver hands it out.
    heard = [
        at + index / SAMPLE_RATE_HZ
        for at, samples in found
        for index in np.flatnonzero(np.abs(samples) > 0.1)[:1]
    ]
    result = []
    for at in onsets(sent):
        spoken = track.spoken_s + at / SAMPLE_RATE_HZ
        later = [time_s for time_s in heard if 0 < time_s - spoken < CLICK_EACH_S * 0.9]
        if later:
            result.append(1_000 * (later[0] - spoken))
    return result


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        ours = two_processes(Path(folder))
    theirs = asyncio.run(aiortc_alone())
    figures = []
    for what, part in (
        ("before any loss", slice(0, LOST_AT)),
        ("after one lost packet", slice(LOST_AT + 2, None)),
    ):
        for name, quantile in (("p50", 50), ("p99", 99)):
            figures.append(
                Figure(
                    what=f"mouth to ear, {what}, {name}",
                    value=float(np.percentile(ours[part], quantile)),
                    unit="ms",
                    target="< 80" if name == "p50" else "",
                    reference="aiortc's own receiver",
                    reference_value=float(np.percentile(theirs[part], quantile)),
                    note=f"{len(ours[part])} clicks, loopback, two processes",
                )
            )
    return figures
