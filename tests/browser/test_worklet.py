"""worklet.js in virtual time: its processors driven by hand, without an audio device."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.chromium import STATIC, chromium, served

pytestmark = [pytest.mark.browser]

# What AudioWorkletGlobalScope gives a processor. `play` runs a loudspeaker for `seconds`: frames
# come when `arrives(n)` says, in seconds of our clock, and tells what was played of a tone whose
# steps betray each sample left out, made up or turned around.
SCOPE = """
window.kinds = {};
window.AudioWorkletProcessor = class {
  constructor() { this.sent = []; this.port = {postMessage: (data) => this.sent.push(data)}; }
};
window.registerProcessor = (name, kind) => { kinds[name] = kind; };
await import("./worklet.js");

const tone = (at) => Math.round(8192 * Math.sin(2 * Math.PI * 100 * at / 48000) );

window.play = (seconds, arrives) => {
  const speaker = new kinds["p2phouse-loudspeaker"]();
  const told = {silent: 0, begun: null, least: Infinity, most: 0, jumps: 0};
  let n = 0, last = null;
  for (let at = 0; at < seconds * 48000; at += 128) {
    while (arrives(n) * 48000 <= at) {
      const frame = Int16Array.from({length: 960}, (_, i) => tone(960 * n + i));
      speaker.port.onmessage({data: frame.buffer});
      n++;
    }
    const output = [new Float32Array(128), new Float32Array(128)];
    if (!speaker.process([], [output])) return "ended";
    if (output[0].some((sample, i) => sample !== output[1][i])) return "not on both sides";
    const isSilent = output[0].every((sample) => sample === 0);
    if (!isSilent) told.begun ??= at / 48000;
    if (told.begun !== null && isSilent) told.silent++;
    if (told.begun !== null) told.last = speaker.held;
    if (told.begun === null || at / 48000 < told.begun + 0.01) continue;  // it fades in
    for (const sample of output[0]) {
      // The steepest step of this tone is 108 of 32768.
      if (last !== null && Math.abs(sample - last) * 32768 > 130) told.jumps++;
      last = sample;
    }
    if (at > 10 * 48000) {
      told.least = Math.min(told.least, speaker.held);
      told.most = Math.max(told.most, speaker.held);
    }
  }
  return told;
};
window.loaded = true;
"""


@pytest.fixture(scope="module")
def scope(tmp_path_factory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("worklet")
    (folder / "index.html").write_text(f'<script type="module">{SCOPE}</script>')
    with served(folder, STATIC / "worklet.js") as origin, chromium() as browser:
        page = browser.new_page()
        page.goto(origin)
        page.wait_for_function("window.loaded")
        yield page


def test_a_cushion_of_50_ms_comes_down_to_what_even_frames_need_without_a_seam(scope):
    told = scope.evaluate("play(20, (n) => 0.02 * n)")
    assert 0.040 <= told["begun"] <= 0.045  # the third frame is there
    assert told["silent"] == told["jumps"] == 0
    assert told["least"] > 128
    assert told["most"] <= 1_680  # 35 ms when a frame has just come, so 15 when the next is due


@pytest.mark.parametrize("faster", [0.998, 0.9995, 1.0005, 1.002])
def test_clocks_that_drift_are_followed_without_a_seam(scope, faster):
    told = scope.evaluate(f"play(120, (n) => 0.02 * n / {faster})")
    assert told["silent"] == told["jumps"] == 0
    assert told["least"] > 64
    assert told["most"] <= 2_880 + 960


def test_jitter_of_a_tick_is_not_heard(scope):
    told = scope.evaluate("play(60, (n) => 0.02 * n + 0.018 * ((n * 7919) % 10) / 10)")
    assert told["silent"] == told["jumps"] == 0


def test_late_frames_that_come_each_second_are_waited_for(scope):
    told = scope.evaluate("play(60, (n) => 0.02 * n + (n % 50 == 0 ? 0.018 : 0))")
    assert told["silent"] == told["jumps"] == 0


def test_the_cushion_grows_each_time_that_it_ran_dry(scope):
    # 25 ms too late once in five seconds: seldom enough to be forgotten each time.
    told = scope.evaluate("play(120, (n) => 0.02 * n + (n % 250 == 249 ? 0.025 : 0))")
    dry_times = told["silent"] * 128 / 48_000 / 0.045
    assert dry_times < 6  # of 24; without growing, 8


def test_after_a_stall_it_is_silent_and_then_plays_with_no_more_delay(scope):
    # 300 ms in which nothing comes, and then all of it at once.
    told = scope.evaluate("play(60, (n) => 12 < 0.02 * n && 0.02 * n < 12.3 ? 12.3 : 0.02 * n)")
    assert 0.200 < told["silent"] * 128 / 48_000 < 0.300
    assert told["most"] <= 5_760
    late = scope.evaluate(
        "play(60, (n) => 5 < 0.02 * n && 0.02 * n < 5.3 ? 5.3 : 0.02 * n)"  # before it is watched
    )
    assert late["most"] <= 2_880 + 128


def test_what_the_microphone_hears_is_cut_into_pieces_of_10_ms(scope):
    told = scope.evaluate("""
        (() => {
            const microphone = new kinds["p2phouse-microphone"]();
            const input = (level) => [[new Float32Array(128).fill(level)]];
            microphone.process([[]], []);  // no device yet
            for (let n = 0; n < 7; n++) microphone.process(input(n < 2 ? 0.5 : -2), []);
            const frame = new Int16Array(microphone.sent[0]);
            microphone.port.onmessage({data: "over"});
            return {
                count: microphone.sent.length, size: frame.length, first: frame[0],
                last: frame[479], goesOn: microphone.process(input(0.5), []),
            };
        })()
    """)
    assert told == {"count": 1, "size": 480, "first": 16_384, "last": -32_768, "goesOn": False}
