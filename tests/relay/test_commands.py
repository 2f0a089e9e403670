"""The relay's commands as a person types them: what they print, and with which code they end."""

import json
import os
import subprocess
import sys

import pytest

from tests.relay.process import relay
from tests.relay.test_settings import GIVEN

ANSWERS = [each for name, value in GIVEN.items() for each in (f"--{name}", value)]


@pytest.fixture
def typed(tmp_path):
    """typed("check"): exit code, standard output and standard error."""
    path = os.pathsep.join(each for each in sys.path if each)
    env = os.environ | {"PYTHONPATH": path, "P2PHOUSE_RELAY_HOME": str(tmp_path / "relay")}

    def run(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "p2phouse_relay", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env=env, input=""
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_a_home_is_made_looked_over_and_denies(typed, tmp_path):
    code, out, _ = typed("init", *ANSWERS)
    assert code == 0
    assert "p2phouse-relay check" in out
    code, out, _ = typed("check", "--json")
    findings = {each["about"]: each for each in json.loads(out)["findings"]}
    assert code == 1  # there is no certificate for audio.example.org here
    assert findings["certificate"]["verdict"] == "bad"
    assert "certbot" in findings["certificate"]["fix"]
    assert typed("deny", "tea", "--reason", "a notice", "--days", "2")[0] == 0
    assert "tea  until " in typed("denied")[1]
    assert typed("allow", "tea")[0] == 0
    assert typed("denied")[1] == "Nothing is denied.\n"
    assert typed("backup", str(tmp_path / "kept"))[0] == 0
    assert (tmp_path / "kept").exists()


def test_what_cannot_be_done_is_one_sentence(typed):
    for words, word in (
        (["up"], "p2phouse-relay init"),
        (["check"], "p2phouse-relay init"),
        (["status"], "p2phouse-relay up"),
        (["drain"], "p2phouse-relay up"),
        (["deny", "tea", "--reason", "r"], "p2phouse-relay init"),
        (["restore", "/nonexistent"], "no backup"),
    ):
        code, out, told = typed(*words)
        assert (code, out) == (2, ""), words
        assert told.startswith("p2phouse-relay: ")
        assert word in told
        assert len(told.splitlines()) == 1
    typed("init", *ANSWERS)
    for option in ("--http-port", "--together-above"):
        code, _, told = typed("up", option, "1")
        assert code == 2
        assert f"{option} is for a trial" in told
        assert "relay.toml" in told
    assert json.loads(typed("status", "--json")[1])["yours"] is True


def test_a_trial_with_a_home_tells_its_state_and_can_be_drained(typed, tmp_path):
    home = ["--home", str(tmp_path / "trial")]
    with relay(*home) as running:
        told = json.loads(typed("status", "--json", *home)[1])
        assert (told["rooms"], told["listeners"]) == (0, 0)
        assert typed("drain", *home)[0] == 0
        assert running.process.wait(20) == 0
        running.stop()
    assert typed("status", *home)[0] == 2


def test_version_is_printed(typed):
    assert typed("version")[1].startswith("p2phouse-relay 0")
