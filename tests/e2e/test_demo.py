"""The demo as a test of what was heard: `p2phouse demo --once --json`, nodes seconds apart."""

import json
import random
import subprocess
import sys

from p2phouse.hearing import CONCEALED_PCT_HEARD_MAX, STOI_HEARD_MIN


def test_in_the_demo_everybody_hears_everybody():
    seed = random.SystemRandom().randrange(1_000)
    words = ["demo", "--once", "--json", "--spread", "5", "--seed", str(seed)]
    done = subprocess.run(
        [sys.executable, "-m", "p2phouse", *words], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, f"seed {seed}: {done.stdout} {done.stderr}"
    said = json.loads(done.stdout)
    assert said["ok"]
    names = {"Ana", "Ben", "Cleo"}
    pairs = {(heard["from"], heard["to"]) for heard in said["heard"]}
    assert pairs == {(a, b) for a in names for b in names if a != b}
    for heard in said["heard"]:
        assert heard["stoi"] >= STOI_HEARD_MIN
        assert heard["concealed_pct"] <= CONCEALED_PCT_HEARD_MAX
        assert heard["delay_ms_p50"] > 0
