"""The owner's page: frames to the media process and back, and mouth to ear through two pages.

Nothing here has a loudspeaker: a voice counts as spoken when the browser's microphone gives it to
the page, and as heard when the page gives it to the browser. A sound card's own buffers are on top.
"""

import asyncio
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.figures import Figure
from p2phouse.sound.page import FRAME_BYTES, Page
from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ
from tests.browser.chromium import chromiums, served
from tests.browser.people import PageNode, gather, open_room, tab, wait_live
from tests.e2e.nodes import write_clip

NAME = "page"
TOKEN = bytes(range(32))
FRAMES = 400
ECHO_S = 0.0005  # how often the far end looks for a frame: at most that much is its own
GRANTED = "--use-fake-ui-for-media-stream"
CLICKS = 16
CLICK_EACH_S = 1.0  # longer than any delay: each click heard is of one click only
PHASE_SAMPLES = 60  # 1.25 ms: 16 clicks meet frames and ticks in every phase
CLICK_SAMPLES = 480  # 10 ms of 1 kHz, over a hum that keeps DTX from stopping the packets

STATIONS = ("mouth", "sent", "got", "ear")  # where clicks are seen, in their order

ROUND_TRIPS = """async ([port, token, frames]) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/sound`);
    socket.binaryType = "arraybuffer";
    await new Promise((done) => { socket.onopen = done; });
    socket.send(token);
    await new Promise((done) => { socket.onmessage = done; });
    const sent = [], trips = [];
    socket.onmessage = () => { trips.push(performance.now() - sent[trips.length]); };
    const piece = new ArrayBuffer(960);
    for (let at = 0; at < frames; at++) {
        sent.push(performance.now());
        socket.send(piece);
        socket.send(piece);
        await new Promise((done) => setTimeout(done, 20));
    }
    await new Promise((done) => setTimeout(done, 200));
    return trips;
}"""

# When clicks pass by: at the microphone's node, at the socket, and at whatever is connected to the
# loudspeaker.
TAP = """
    window.clicks = {mouth: [], sent: [], got: [], ear: []};
    const passes = (name, data) => {
        if (typeof data === "string") return;
        const now_ms = performance.timeOrigin + performance.now();
        if (!new Int16Array(data.slice(0)).some((sample) => Math.abs(sample) > 3276)) return;
        if (now_ms - (window.clicks[name].at(-1) ?? 0) > 250) window.clicks[name].push(now_ms);
    };
    window.WebSocket = class extends WebSocket {
        constructor(url) {
            super(url);
            this.isSound = url.endsWith("/sound");
            if (this.isSound) this.addEventListener("message", ({data}) => passes("got", data));
        }
        send(data) {
            if (this.isSound) passes("sent", data);
            return super.send(data);
        }
    };
    const connect = AudioNode.prototype.connect;
    const watch = (node, name) => {
        const analyser = new AnalyserNode(node.context, {fftSize: 8192});
        connect.call(node, analyser);
        const sound = new Float32Array(analyser.fftSize);
        let last = 0;
        setInterval(() => {
            analyser.getFloatTimeDomainData(sound);
            const now_s = node.context.currentTime;
            const wall_ms = performance.timeOrigin + performance.now();
            const at = sound.findIndex((sample) => Math.abs(sample) > 0.1);
            const spoken_s = now_s - (sound.length - at) / 48000;
            // Known already, or cut off at its beginning.
            if (at < 480 || spoken_s - last < 0.25) return;
            last = spoken_s;
            window.clicks[name].push(wall_ms - 1000 * (now_s - spoken_s));
        }, 5);
    };
    AudioNode.prototype.connect = function (to, ...rest) {
        if (to instanceof AudioDestinationNode) watch(this, "ear");
        return connect.call(this, to, ...rest);
    };
    const source = AudioContext.prototype.createMediaStreamSource;
    AudioContext.prototype.createMediaStreamSource = function (media) {
        const node = source.call(this, media);
        watch(node, "mouth");
        return node;
    };
    localStorage.setItem("processing", '{"echo": false, "noise": false, "gain": false}');
"""


def clicks() -> NDArray[np.float32]:
    count = int((CLICKS + 1) * CLICK_EACH_S * SAMPLE_RATE_HZ)
    sound = 0.004 * np.sin(2 * np.pi * 180 * np.arange(count) / SAMPLE_RATE_HZ)
    burst = 0.8 * np.sin(2 * np.pi * 1_000 * np.arange(CLICK_SAMPLES) / SAMPLE_RATE_HZ)
    for number in range(CLICKS):
        start = int((number + 1) * CLICK_EACH_S * SAMPLE_RATE_HZ) + number * PHASE_SAMPLES
        sound[start : start + CLICK_SAMPLES] += burst
    return sound.astype(np.float32)


@contextmanager
def echoing(origin: str) -> Iterator[int]:
    """The media process's end of the socket, which plays each frame that it is given. Its port."""
    port: list[int] = []
    ready, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        page = Page(lambda error: print(error))
        opened = await page.open(TOKEN, origin)
        assert opened is not None
        port.append(opened)
        ready.set()
        while not over.is_set():
            frame = page.said.take(FRAME_SAMPLES)
            if frame is not None:
                page.play(frame)
            await asyncio.sleep(ECHO_S)
        await page.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    ready.wait(10)
    try:
        yield port[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def round_trips_ms(folder: Path) -> list[float]:
    (folder / "index.html").write_text("<!doctype html><title>bench</title>")
    with chromiums(()) as (browser,), served(folder) as origin, echoing(origin) as port:
        page = browser.new_page()
        page.goto(origin)
        word = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
        trips: list[float] = page.evaluate(ROUND_TRIPS, [port, word, FRAMES])
    return trips


def page_to_page_ms(folder: Path) -> tuple[dict[str, list[float]], float]:
    """When clicks pass by on their way from one person's browser, through both nodes, to the
    other's; and how long of that they lie in the playout of the listener's node."""
    clip = write_clip(folder / "clicks.wav", clicks(), rate=48_000)
    nodes = [
        PageNode(folder / name, folder / "run", "--loopback", "--name", name)
        for name in ("ana", "ben")
    ]
    ana, ben = nodes
    file = f"--use-file-for-fake-audio-capture={clip}%noloop"
    try:
        for node in nodes:
            node.start()
        with (
            chromiums((GRANTED, file), (GRANTED,)) as (first, second),
            tab(first, ana, script=TAP) as at_ana,
            tab(second, ben, script=TAP) as at_ben,
        ):
            open_room(at_ana)
            gather(ana, ben)
            at_ben.wait_for_selector(".stage")
            at_ben.click("h1")  # a browser keeps a page quiet until it is touched
            at_ana.click("#mic")
            wait_live(at_ana, True)
            waits = []
            for _ in range(CLICKS + 2):
                at_ana.wait_for_timeout(1_000 * CLICK_EACH_S)
                waits += [each.get("buffered_ms", 0) for each in ben.others().values()]
            ours, theirs = at_ana.evaluate("clicks"), at_ben.evaluate("clicks")
            passed = {name: ours[name] or theirs[name] for name in STATIONS}
            return passed, statistics.median(waits)
    finally:
        for node in nodes:
            node.stop()


def delays_ms(spoken: list[float], heard: list[float]) -> list[float]:
    """Of each click that came: the first one heard after it, well before the next is spoken."""
    found = []
    for at in spoken:
        later = [time - at for time in heard if 0 < time - at < 900 * CLICK_EACH_S]
        found += later[:1]
    return found


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="p2ph-") as folder:
        trips = round_trips_ms(Path(folder))
    with tempfile.TemporaryDirectory(prefix="p2ph-") as folder:
        passed, wait = page_to_page_ms(Path(folder))
    delays = delays_ms(passed["mouth"], passed["ear"])
    parts = [
        statistics.median(delays_ms(passed[before], passed[after]))
        for before, after in pairwise(STATIONS)
    ]
    return [
        Figure(
            "PCM round trip, page and media process, p50",
            statistics.median(trips),
            "ms",
            note=f"{len(trips)} of {FRAMES} frames of {FRAME_BYTES} B, one each 20 ms",
        ),
        Figure("the same, p95", float(np.percentile(trips, 95)), "ms"),
        Figure(
            "mouth to ear, page, node, node, page, p50",
            statistics.median(delays),
            "ms",
            "< 150",
            note=f"{len(delays)} of {CLICKS} clicks, loopback, without the sound cards' buffers",
        ),
        Figure("the same, p95", float(np.percentile(delays, 95)), "ms"),
        Figure(
            "of it, from the microphone to the speaker's socket",
            parts[0],
            "ms",
            note="pieces of 10 ms, and the browser's own bursts of 10 ms",
        ),
        Figure(
            "of it, from there to the listener's socket",
            parts[1],
            "ms",
            note="waits for the tick, Opus, both nodes, playout",
        ),
        Figure(
            "of that, in the playout of the listener's node",
            wait,
            "ms",
            note="grows with how late packets come: on busy cores most of the whole",
        ),
        Figure("of it, from there to the loudspeaker", parts[2], "ms", note="the page's cushion"),
    ]
