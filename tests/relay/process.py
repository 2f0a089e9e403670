"""`p2phouse-relay up --dev` as a process, and guests of it that are aiortc."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from av import AudioFrame

from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, SAMPLE_RATE_HZ

READY_S_MAX = 60.0
PAUSE_S_MAX = 30
Facts = dict[str, Any]


class ProcessRelay:
    """One relay in trial. `facts` is what it printed when it was ready."""

    def __init__(self, *options: str, log: str = "warning") -> None:
        command = [sys.executable, "-m", "p2phouse_relay", "up", "--dev", "--json", "--tied"]
        command += ["--http-port", "0", "--udp-port", "0", "--log", log, *options]
        path = os.pathsep.join(each for each in sys.path if each)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # `logged` and `stop` read the same log, each from where the other left it
            env=os.environ | {"PYTHONPATH": path},
        )
        watchdog = threading.Timer(READY_S_MAX, self.process.kill)
        watchdog.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        watchdog.cancel()
        assert line, "the relay did not start"
        self.facts: Facts = json.loads(line)
        assert "error" not in self.facts, self.facts["error"]
        self.http: str = self.facts["http"]
        self._log = b""

    def now(self, room: str) -> Facts:
        with urllib.request.urlopen(f"{self.http}/r/{room}/now") as answer:
            facts: Facts = json.load(answer)
            return facts

    def logged(self, words: str) -> None:
        """Once the log says so."""
        assert self.process.stderr is not None
        while words.encode() not in self._log:
            line = self.process.stderr.readline()
            assert line, f"the relay ended without a word of {words}"
            self._log += line

    def stop(self) -> tuple[int, str]:
        """SIGTERM; what it exited with, and its log."""
        self.process.terminate()
        _, log = self.process.communicate(timeout=20)
        return self.process.returncode, (self._log + log).decode()


@contextmanager
def relay(*options: str) -> Iterator[ProcessRelay]:
    its = ProcessRelay(*options)
    try:
        yield its
    finally:
        if its.process.poll() is None:
            its.stop()


def asked(method: str, url: str, body: bytes = b"", **headers: str) -> tuple[int, Any, str]:
    """Status, headers and body, whatever the status is."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body or None, given, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


class Clip(MediaStreamTrack):  # type: ignore[misc]  # aiortc has no types
    """Says a sound, again and again, at the pace of the clock. began_s: of its first sample."""

    kind = "audio"

    def __init__(self, sound: np.ndarray) -> None:
        super().__init__()
        self._samples = (np.clip(sound, -1, 1) * 32_767).astype(np.int16)
        self._at = 0
        self.began_s: float | None = None

    async def recv(self) -> AudioFrame:
        if self.began_s is None:
            self.began_s = time.monotonic()
        due_s = self.began_s + self._at * FRAME_S
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        which = np.arange(FRAME_SAMPLES) + self._at * FRAME_SAMPLES
        samples = self._samples.take(which, mode="wrap")
        frame = AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = self._at * FRAME_SAMPLES
        frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
        self._at += 1
        return frame


class Guest:
    """A browser's end by aiortc. `place` is its resource; `heard` what each m-line brought."""

    def __init__(self) -> None:
        self.line = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.place = ""
        self.status = 0
        self.heard: list[list[np.ndarray]] = []
        self.first_s: list[float | None] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def speak(
        self, relay: ProcessRelay, room: str, name: str, clip: Clip, token: str = ""
    ) -> None:
        self.line.addTransceiver(clip, direction="sendonly")
        await self._join(relay, f"/whip/{room}/{name}", token)

    async def listen(self, relay: ProcessRelay, room: str, slots: int = 1) -> None:
        for _ in range(slots):
            self.line.addTransceiver("audio", direction="recvonly")
            self.heard.append([])
            self.first_s.append(None)

        def begin(track: Any) -> None:  # noqa: ANN401 - aiortc has no types
            slot = len(self._tasks)  # aiortc tells of them in the order of the m-lines
            self._tasks.append(asyncio.create_task(self._hear(slot, track)))

        self.line.on("track", begin)
        await self._join(relay, f"/whep/{room}")

    async def leave(self, relay: ProcessRelay) -> int:
        status, _, _ = await asyncio.to_thread(asked, "DELETE", relay.http + self.place)
        await self.close()
        return status

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.line.close()

    def sound(self, slot: int = 0) -> np.ndarray:
        """What the slot brought, as float32 at 48 kHz, from its first frame on."""
        parts = self.heard[slot]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    async def _join(self, relay: ProcessRelay, path: str, token: str = "") -> None:
        await self.line.setLocalDescription(await self.line.createOffer())
        offer = self.line.localDescription.sdp.encode()
        self.status, headers, answer = await asyncio.to_thread(
            partial(
                asked,
                "POST",
                relay.http + path,
                offer,
                content_type="application/sdp",
                **({"authorization": f"Bearer {token}"} if token else {}),
            )
        )
        assert self.status == 201, answer
        self.place = headers["location"]
        connected = asyncio.Event()

        def look() -> None:
            if self.line.connectionState == "connected":
                connected.set()

        self.line.on("connectionstatechange", look)
        await self.line.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        try:
            await asyncio.wait_for(connected.wait(), 20)
        except TimeoutError:
            await self.close()  # else aiortc's sockets drown the reason in warnings
            raise

    async def _hear(self, slot: int, track: Any) -> None:  # noqa: ANN401 - aiortc has no types
        due = None  # the time of the frame that follows, of 48,000 a second
        while True:
            frame = await track.recv()
            if self.first_s[slot] is None:
                self.first_s[slot] = time.monotonic()
            # A node sends nothing while it pauses; aiortc leaves such a time out.
            if due is not None and 0 < frame.pts - due <= PAUSE_S_MAX * SAMPLE_RATE_HZ:
                self.heard[slot].append(np.zeros(frame.pts - due, np.float32))
            samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
            self.heard[slot].append(samples.mean(axis=1).astype(np.float32) / 32_768)
            due = frame.pts + len(samples)
