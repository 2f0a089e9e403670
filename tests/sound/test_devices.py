"""Real PortAudio on a sound server of the test's own, whose microphone hears its loudspeaker."""

import ctypes.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from p2phouse.sound.devices import Microphone, PortAudioMissing, SounddeviceMissing
from p2phouse.sound.files import to_float
from tests.needed import need
from tests.sound.sounds import encode, sine

ROOT = Path(__file__).parents[2]
PLUGIN = "*/alsa-lib/libasound_module_pcm_pulse.so"
TONES = (400, 700, 1_100)
NEEDS = "needs: apt-get install pulseaudio pulseaudio-utils libasound2-plugins libportaudio2"


def test_without_sounddevice_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SounddeviceMissing, match=r'pip install "p2phouse\[device\]"'):
        Microphone(None)


def test_without_portaudio_the_sentence_says_what_to_install(monkeypatch, tmp_path):
    # What sounddevice does on a system without the library.
    (tmp_path / "sounddevice.py").write_text('raise OSError("PortAudio library not found")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(PortAudioMissing, match="apt-get install libportaudio2"):
        Microphone(None)


class SoundServer:
    """PulseAudio with one null sink, whose monitor is the microphone."""

    def __init__(self, folder: Path) -> None:
        self.runtime = folder / "run"
        for place in (folder, self.runtime):
            place.mkdir(mode=0o700, exist_ok=True)
        (folder / ".asoundrc").write_text(
            "pcm.!default { type pulse }\nctl.!default { type pulse }\n"
        )
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PULSE")},
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PULSE_SINK": "room",
            "PULSE_SOURCE": "room.monitor",
            "PYTHONPATH": str(ROOT),
        }

    def start(self) -> None:
        modules = (
            "module-native-protocol-unix",
            "module-null-sink sink_name=room rate=48000",
        )
        loads = [word for module in modules for word in ("-L", module)]
        command = ["pulseaudio", "-n", "--daemonize=yes", "--exit-idle-time=-1", *loads]
        subprocess.run(command, env=self.env, check=True, timeout=60, capture_output=True)

    def kill(self) -> None:
        os.kill(int((self.runtime / "pulse" / "pid").read_text()), signal.SIGKILL)
        (self.runtime / "pulse" / "pid").unlink()

    def recorders(self) -> list[str]:
        """Who listens to the microphone now, as the server sees it."""
        command = ["pactl", "list", "short", "source-outputs"]
        listed = subprocess.run(command, env=self.env, check=True, capture_output=True, text=True)
        return listed.stdout.splitlines()

    def run(self, *arguments: str) -> "Child":
        return Child(arguments, self.env)


class Child:
    """tests/sound/loopback.py, its lines one by one."""

    def __init__(self, arguments: tuple[str, ...], env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.sound.loopback", *arguments],
            env=env,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # ALSA and PortAudio talk to themselves there
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def line(self) -> dict[str, object]:
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        assert text, "it ended"
        facts: dict[str, object] = json.loads(text)
        return facts

    def lines(self) -> list[dict[str, object]]:
        """All until it ends, which must be well."""
        assert self._process.stdout is not None
        rest = [json.loads(text) for text in self._process.stdout]
        assert self._process.wait() == 0
        return rest

    def order(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SoundServer]:
    there = [shutil.which("pulseaudio"), shutil.which("pactl"), *Path("/usr/lib").glob(PLUGIN)]
    need(len(there) >= 3 and all(there) and ctypes.util.find_library("portaudio"), NEEDS)
    server = SoundServer(tmp_path / "sound")
    server.start()
    yield server
    if (server.runtime / "pulse" / "pid").exists():
        server.kill()


def tones_in(heard: np.ndarray) -> list[int]:
    """Which tone each piece of 50 ms is, where it is one."""
    pieces = heard[: len(heard) // 2_400 * 2_400].reshape(-1, 2_400)
    found = []
    for piece in pieces:
        spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece))))
        hz = 20 * int(np.argmax(spectrum))
        near = [tone for tone in TONES if abs(hz - tone) <= 0.05 * tone]
        if float(np.abs(piece).max()) > 0.05 and near:
            found.append(near[0])
    return found


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["device", "device:pulse"])
def test_what_the_loudspeaker_plays_the_microphone_hears(server, tmp_path, name):
    played = np.concatenate([sine(hz) for hz in TONES])
    path = encode(tmp_path / "played.wav", "pcm_s16le", played)
    assert server.recorders() == []
    with server.run("carry", name, str(path), f"{tmp_path}/heard.npy") as child:
        assert [child.line() for _ in range(2)] == [
            {"condition": "INPUT_STARTED", "text": ""},
            {"condition": "OUTPUT_STARTED", "text": ""},
        ]
        assert child.line() == {"open": True}
        assert len(server.recorders()) == 1
        child.order()
        assert child.line() == {"condition": "OUTPUT_ENDED", "text": ""}
        assert child.line() == {"open": False}
        assert server.recorders() == []  # the server agrees: nobody listens any more
        child.order()
        assert child.lines() == []
    # Content and order, not quality: on a busy machine the sound server itself drops out.
    tones = tones_in(to_float(np.load(tmp_path / "heard.npy")))
    assert tones == sorted(tones)
    assert all(tones.count(tone) >= 10 for tone in TONES)


@pytest.mark.e2e
def test_devices_that_die_are_said_and_may_be_opened_again(server):
    with server.run("lose") as child:
        assert {child.line()["condition"], child.line()["condition"]} == {
            "INPUT_STARTED",
            "OUTPUT_STARTED",
        }
        server.kill()
        lost = {str(line["condition"]): line["text"] for line in (child.line(), child.line())}
        advice = "is gone. Plug it in again or name another one: device:NAME."
        assert lost == {
            "INPUT_FAILED": f"The microphone {advice}",
            "OUTPUT_FAILED": f"The loudspeaker {advice}",
        }
        server.start()
        child.order()
        assert {line["condition"] for line in child.lines()} == {
            "INPUT_STARTED",
            "OUTPUT_STARTED",
        }


@pytest.mark.e2e
def test_a_device_that_is_not_there_is_answered_with_those_that_are(server):
    with server.run("look", "device:gramophone") as child:
        heard, played = child.lines()
    assert heard["condition"] == "INPUT_FAILED"
    assert str(heard["text"]).startswith(
        'No microphone is called "gramophone", or more than one is. There are: '
    )
    assert "pulse" in str(heard["text"])
    assert played["condition"] == "OUTPUT_FAILED"


@pytest.mark.e2e
def test_a_machine_without_a_sound_card_says_so(server):
    (Path(server.env["HOME"]) / ".asoundrc").unlink()
    server.kill()
    with server.run("look", "device") as child:
        heard, played = child.lines()
    assert heard["condition"] == "INPUT_FAILED"
    assert str(heard["text"]).startswith(
        ("This machine shows no microphone.", "The microphone could")
    )
    assert played["condition"] == "OUTPUT_FAILED"
