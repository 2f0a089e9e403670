"""A room's one mix in a browser: by its own player, and by webm.js, which is quicker."""

import time

import numpy as np
import pytest

from p2phouse.vocabulary import SAMPLE_RATE_HZ
from tests.browser.listening import TONE_HZ, page_of, speaking
from tests.relay.process import relay

pytestmark = [pytest.mark.browser, pytest.mark.nightly]

OTHER_HZ = 1_000
TURN_S = 3
DELAY_S_MAX = 1.5

# Plays by `play`, and tells for so many seconds what is loudest: [seconds since 1970, Hz].
HEAR = """async ([seconds, play]) => {
  const ear = document.body.appendChild(document.createElement("audio"));
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, {fftSize: 2048, smoothingTimeConstant: 0});
  context.createMediaElementSource(ear).connect(analyser).connect(context.destination);
  const url = `${location.pathname}/listen.webm`;
  if (play) (await import("/webm.js")).hear(ear, url);
  else { ear.src = url; ear.play(); }
  const heard = [], bins = new Float32Array(analyser.frequencyBinCount);
  for (const end = Date.now() + 1_000 * seconds; Date.now() < end;) {
    await new Promise((go) => setTimeout(go, 15));
    analyser.getFloatFrequencyData(bins);
    const loudest = bins.indexOf(Math.max(...bins));
    heard.push([Date.now() / 1_000, bins[loudest] > -60 ? loudest * context.sampleRate / 2048 : 0]);
  }
  ear.removeAttribute("src");
  return heard;
}"""


def turns(heard: list[tuple[float, float]]) -> list[tuple[float, int]]:
    """When a tone gave way to the other."""
    found: list[tuple[float, int]] = []
    before = 0
    for at_s, hz in heard:
        now = next((each for each in (TONE_HZ, OTHER_HZ) if abs(hz - each) < 60), 0)
        if now and before and now != before:
            found.append((at_s, now))
        before = now or before
    return found


def test_a_page_hears_the_mix_less_than_a_second_and_a_half_late(browser):
    at = np.arange(TURN_S * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tones = [0.3 * np.sin(2 * np.pi * hz * at) for hz in (TONE_HZ, OTHER_HZ)]
    with (
        relay() as its,
        speaking(its, "tea", "ana", says=np.concatenate(tones)) as clip,
        page_of(browser, its, "tea") as page,
    ):
        heard = turns(page.evaluate(HEAR, [15, True]))
        assert its.now("tea")["people"] == 2
    assert clip.began_s is not None
    began_s = clip.began_s + time.time() - time.monotonic()
    assert len(heard) >= 3
    for at_s, hz in heard:
        said_s = 0 if hz == TONE_HZ else TURN_S
        assert (at_s - began_s - said_s) % (2 * TURN_S) < DELAY_S_MAX


def test_a_browser_s_own_player_hears_it_too(browser):
    with relay() as its, speaking(its, "tea", "ana"), page_of(browser, its, "tea") as page:
        heard = page.evaluate(HEAR, [15, False])
        assert heard[-1][1] == pytest.approx(TONE_HZ, abs=30)
