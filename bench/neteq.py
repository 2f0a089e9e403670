"""Chromium's NetEQ in the place of our playout: packets to a page at given times, and its sound.

One connection for each list of packets, all at once, so that a run takes as long as the longest.
aiortc gives ICE and DTLS alone; the packets are ours, and what a network lost is never sent. The
page records each track in an AudioWorklet. Real time: a busy machine's stumbles are jitter, so
the times at which packets were really sent are told as well.
"""

import asyncio
import base64
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.browser.chromium import chromiums, served
from tests.voice.wire import Sent

START_S: Final = 1.5  # what NetEQ and its resampler do at first is not to be in the figures
AFTER_S: Final = 1.5
PAGE: Final = "<!doctype html><title>NetEQ</title>"
RECORDER: Final = """
registerProcessor("recorder", class extends AudioWorkletProcessor {
    process([input]) {
        const sound = input[0] ? input[0].slice() : new Float32Array(128);
        this.port.postMessage([Date.now(), currentFrame, sound]);
        return true;
    }
});
"""
HEAR: Final = """async (offers) => {
    const context = new AudioContext({sampleRate: 48000});
    await context.audioWorklet.addModule("recorder.js");
    await context.resume();
    window.taps = [];
    return Promise.all(offers.map(async (sdp) => {
        const connection = new RTCPeerConnection();
        const tap = {connection, sounds: [], first: -1, offsets: []};
        window.taps.push(tap);
        connection.ontrack = ({track, streams}) => {
            const stream = streams[0] || new MediaStream([track]);
            tap.audio = Object.assign(new Audio(), {srcObject: stream, muted: true});
            tap.audio.play();
            const node = new AudioWorkletNode(context, "recorder", {numberOfOutputs: 0});
            node.port.onmessage = ({data: [wall, frame, sound]}) => {
                if (tap.first < 0) tap.first = frame;
                tap.offsets.push(wall - frame / 48);
                tap.sounds.push(sound);
            };
            tap.node = node;
            tap.source = context.createMediaStreamSource(stream);
            tap.source.connect(node);
        };
        await connection.setRemoteDescription({type: "offer", sdp});
        const answer = await connection.createAnswer();
        answer.sdp = answer.sdp.replace(/a=fmtp:(\\d+) /, "a=fmtp:$1 useinbandfec=1;");
        await connection.setLocalDescription(answer);
        await new Promise((done) => {
            connection.onicegatheringstatechange = () => {
                if (connection.iceGatheringState === "complete") done();
            };
            setTimeout(done, 1000);
        });
        return connection.localDescription.sdp;
    }));
}"""
TELL: Final = """async () => Promise.all(window.taps.map(async (tap) => {
    let stats = {};
    for (const each of (await tap.connection.getStats()).values())
        if (each.type === "inbound-rtp") stats = {...each};
    const sound = new Float32Array(tap.sounds.length * 128);
    tap.sounds.forEach((each, n) => sound.set(each, 128 * n));
    const bytes = new Uint8Array(sound.buffer);
    let text = "";
    for (let at = 0; at < bytes.length; at += 32768)
        text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    tap.offsets.sort((a, b) => a - b);
    const offset = tap.offsets[tap.offsets.length >> 1];
    return {stats, sound: btoa(text), wall_ms: offset + tap.first / 48};
}))"""


@dataclass(slots=True)
class Heard:
    """What came out of one connection, on the clock of the packets' own times."""

    sound: np.ndarray  # 48 kHz, from `played_s` on
    played_s: float
    stats: dict[str, Any]  # the page's own, of inbound-rtp
    came: list[tuple[float, Sent]] = field(default_factory=list)  # when each was really sent


class _Sender:
    """Our end: connections of aiortc on a loop in a thread of its own."""

    def __init__(self, count: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._count = count
        self._connections: list[RTCPeerConnection] = []

    def call(self, work: Any, *, within_s: float = 60) -> Any:  # noqa: ANN401
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(within_s)

    async def offers(self) -> list[str]:
        for _ in range(self._count):
            connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            connection.addTransceiver("audio", direction="sendonly")
            await connection.setLocalDescription(await connection.createOffer())
            self._connections.append(connection)
        return [each.localDescription.sdp for each in self._connections]

    async def connect(self, answers: Sequence[str]) -> None:
        for connection, sdp in zip(self._connections, answers, strict=True):
            await connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        while any(each.connectionState != "connected" for each in self._connections):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def send(self, lists: Sequence[Sequence[tuple[float, Sent]]], began: float) -> Any:  # noqa: ANN401
        return await asyncio.gather(
            *(
                self._send_one(connection, each, began)
                for connection, each in zip(self._connections, lists, strict=True)
            )
        )

    async def _send_one(
        self, connection: RTCPeerConnection, packets: Sequence[tuple[float, Sent]], began: float
    ) -> list[tuple[float, Sent]]:
        sender = connection.getSenders()[0]
        codec = next(
            each for each in connection.getTransceivers()[0]._codecs if each.name.lower() == "opus"
        )
        came = []
        for at_s, each in packets:
            wait_s = at_s - (time.monotonic() - began)
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            header = (
                bytes([0x80, codec.payloadType | (0x80 if each.marker else 0)])
                + (each.seq & 0xFFFF).to_bytes(2, "big")
                + (each.counter * 960 & 0xFFFFFFFF).to_bytes(4, "big")
                + sender._ssrc.to_bytes(4, "big")
            )
            came.append((time.monotonic() - began, each))
            await sender.transport._send_rtp(header + each.opus)
        return came

    def close(self) -> None:
        for connection in self._connections:
            self.call(connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def through_neteq(lists: Sequence[Sequence[tuple[float, Sent]]]) -> list[Heard]:
    """Packets of several talks, each with the time at which it comes; needs Chromium."""
    with tempfile.TemporaryDirectory(prefix="p2ph-") as name:
        folder = Path(name)
        (folder / "index.html").write_text(PAGE)
        (folder / "recorder.js").write_text(RECORDER)
        sender = _Sender(len(lists))
        try:
            with (
                chromiums(("--autoplay-policy=no-user-gesture-required",)) as (browser,),
                served(folder) as origin,
            ):
                page = browser.new_page()
                page.goto(origin)
                answers = page.evaluate(HEAR, sender.call(sender.offers()))
                sender.call(sender.connect(answers))
                began, began_unix = time.monotonic() + START_S, time.time() + START_S
                longest_s = max(packets[-1][0] for packets in lists)
                sending = asyncio.run_coroutine_threadsafe(
                    sender.send(lists, began),
                    sender._loop,
                )
                page.wait_for_timeout(1000 * (START_S + longest_s + AFTER_S))
                came = sending.result(10)
                return [
                    Heard(
                        np.frombuffer(base64.b64decode(each["sound"]), "<f4"),
                        each["wall_ms"] / 1000 - began_unix,
                        each["stats"],
                        times,
                    )
                    for each, times in zip(page.evaluate(TELL), came, strict=True)
                ]
        finally:
            sender.close()
