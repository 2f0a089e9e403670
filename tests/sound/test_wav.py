import os
import resource
import signal
import subprocess
import sys
import time
import wave

import numpy as np
import pytest

from p2phouse.errors import UserError
from p2phouse.sound.files import to_samples
from p2phouse.sound.wav import BLOCK_FRAMES, BLOCKS_MAX, Backlog, SoundFileFull, WavFile
from p2phouse.vocabulary import FRAME_SAMPLES
from tests.sound.sounds import read_wav
from tests.voice.speech import noise

BLOCK_SAMPLES = BLOCK_FRAMES * FRAME_SAMPLES


@pytest.mark.parametrize("frames", [0, 1, BLOCK_FRAMES, 3 * BLOCK_FRAMES + 7])
def test_everything_played_is_in_the_file_in_order(tmp_path, frames):
    played = [noise(n) for n in range(frames)]
    file = WavFile(str(tmp_path / "a.wav"))
    for frame in played:
        file.play(frame)
    file.close()
    expected = to_samples(np.concatenate([np.zeros(0, np.float32), *played]))
    assert np.array_equal(read_wav(tmp_path / "a.wav"), expected)


def test_ticks_that_fell_out_are_silence_in_their_place(tmp_path):
    file = WavFile(str(tmp_path / "a.wav"))
    file.play(noise(1))
    file.skip(3)
    file.play(noise(2))
    file.skip(2)
    file.close()
    gap = np.zeros(FRAME_SAMPLES, np.float32)
    expected = np.concatenate([noise(1), gap, gap, gap, noise(2), gap, gap])
    assert np.array_equal(read_wav(tmp_path / "a.wav"), to_samples(expected))


def test_what_was_in_the_file_before_is_gone(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(os.urandom(100_000))
    file = WavFile(str(path))
    file.play(noise(1))
    file.close()
    assert path.stat().st_size == 44 + 2 * FRAME_SAMPLES


def test_a_slow_disk_costs_sound_but_no_time():
    backlog = Backlog()
    marks = np.arange(1, BLOCKS_MAX + 6, dtype=np.int16)
    for mark in marks:  # nobody takes a block meanwhile
        backlog.add(np.full(BLOCK_SAMPLES, mark))
    taken = [backlog.take() for _ in range(BLOCKS_MAX)]
    assert taken == [np.full(BLOCK_SAMPLES, m).tobytes() for m in marks[:BLOCKS_MAX]]
    backlog.add(np.full(BLOCK_SAMPLES, 99, np.int16))
    assert backlog.take() == 5 * BLOCK_SAMPLES
    assert backlog.take() == np.full(BLOCK_SAMPLES, 99, np.int16).tobytes()


def test_the_end_comes_after_the_rest():
    backlog = Backlog()
    backlog.add(np.ones(100, np.int16))
    backlog.add_silence(50)
    backlog.add(np.ones(7, np.int16))
    backlog.end()
    taken = []
    while (piece := backlog.take()) is not None:
        taken.append(piece if isinstance(piece, int) else len(piece) // 2)
    assert [size for size in taken if size] == [100, 50, 7]


# ── what may go wrong ────────────────────────────────────────────────────────────────────────

PLAY_FOR_EVER = """
import sys, numpy as np
from p2phouse.sound.wav import WavFile
file = WavFile(sys.argv[1])
for _ in range(100):
    file.play(np.full(960, 0.5, np.float32))
sys.stdin.read()
"""


def test_a_killed_process_leaves_a_file_that_reads(tmp_path):
    path = tmp_path / "a.wav"
    command = [sys.executable, "-c", PLAY_FOR_EVER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            while process.poll() is None:
                # At every moment: a header that claims no more than there is.
                if path.exists() and path.stat().st_size >= 44:
                    with wave.open(str(path)) as file:
                        claimed = file.getnframes()
                    assert path.stat().st_size >= 44 + 2 * claimed
                    if claimed == 4 * BLOCK_SAMPLES:
                        break
                time.sleep(0.01)  # another process's file: nothing tells when it has grown
        finally:
            process.send_signal(signal.SIGKILL)
    heard = read_wav(path)
    assert len(heard) == 4 * BLOCK_SAMPLES
    assert (heard == 16_384).all()


def test_a_process_that_ends_without_closing_is_not_held_up(tmp_path):
    command = [sys.executable, "-c", PLAY_FOR_EVER, str(tmp_path / "a.wav")]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert ended.returncode == 0


def play_all(file: WavFile, frames: int) -> None:
    """The writer fails when it comes to it: in `play` or, at the latest, in `close`."""
    try:
        for n in range(frames):
            file.play(noise(n))
    finally:
        file.close()


def test_a_full_disk_is_said_and_keeps_what_fitted(tmp_path):
    path = tmp_path / "a.wav"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * BLOCK_SAMPLES * 2, hard))
    try:
        file = WavFile(str(path))
        with pytest.raises(UserError, match=r"could not be written \(File too large\). Choose"):
            play_all(file, 5 * BLOCK_FRAMES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    fitted = np.concatenate([noise(n) for n in range(2 * BLOCK_FRAMES)])
    assert np.array_equal(read_wav(path), to_samples(fitted))


def test_a_file_as_long_as_its_format_allows_says_so(tmp_path):
    path = tmp_path / "a.wav"
    file = WavFile(str(path), data_bytes_max=2 * BLOCK_SAMPLES)
    with pytest.raises(SoundFileFull, match="Go on in another file"):
        play_all(file, BLOCK_FRAMES + 1)
    assert len(read_wav(path)) == BLOCK_SAMPLES


def test_nothing_is_written_after_what_failed(tmp_path):
    file = WavFile(str(tmp_path / "a.wav"), data_bytes_max=8 * BLOCK_SAMPLES)
    for n in range(BLOCK_FRAMES):
        file.play(noise(n))
    file.skip(1_000)  # too long a silence to fit
    with pytest.raises(SoundFileFull):
        play_all(file, BLOCK_FRAMES)  # this would fit, but at a wrong time
    assert len(read_wav(tmp_path / "a.wav")) == BLOCK_SAMPLES


def test_a_path_that_cannot_be_written_is_named_with_the_reason(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    for path, reason in {
        f"{tmp_path}/folder": "Is a directory",
        f"{tmp_path}/link": "Is a directory",
        f"{tmp_path}/nowhere/a.wav": "No such file",
        f"{tmp_path}/pipe": "No such device|it is no ordinary file",
        f"{tmp_path}/a\0b": "no NUL",
        "/dev/null": "it is no ordinary file",
    }.items():
        with pytest.raises(UserError, match=rf"could not be written \(.*({reason})"):
            WavFile(path)
    assert not list((tmp_path / "folder").iterdir())


def test_a_folder_that_is_not_ours_is_named_with_the_reason(tmp_path):
    tmp_path.chmod(0o500)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65_534)
    try:
        with pytest.raises(UserError, match="Permission denied"):
            WavFile(str(tmp_path / "a.wav"))
    finally:
        if is_root:
            os.seteuid(0)
