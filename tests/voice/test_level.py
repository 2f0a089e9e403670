import numpy as np
import pytest

from p2phouse.vocabulary import FRAME_SAMPLES
from p2phouse.voice.level import HANG_FRAMES, SILENCE_DBOV, Talking, level_dbov
from tests.voice.speech import frames_of, librivox


@pytest.mark.parametrize(
    ("amplitude", "dbov"), [(1.0, 0), (0.5, 6), (0.1, 20), (0.001, 60), (1e-9, 127), (0.0, 127)]
)
def test_a_square_wave_reads_as_its_amplitude(amplitude: float, dbov: int):
    square = np.where(np.arange(FRAME_SAMPLES) % 100 < 50, amplitude, -amplitude)
    assert level_dbov(square.astype(np.float32)) == dbov


def test_beyond_full_scale_and_beyond_reason_stay_within_the_byte():
    assert level_dbov(np.full(FRAME_SAMPLES, 3.0, np.float32)) == 0
    assert level_dbov(np.full(FRAME_SAMPLES, np.nan, np.float32)) == SILENCE_DBOV


def test_read_speech_is_talking_most_of_the_time_and_silence_never():
    talking = Talking()
    heard = [talking.hear(level_dbov(frame)) for frame in frames_of(librivox())]
    assert np.mean(heard) > 0.8
    for _ in range(HANG_FRAMES):
        talking.hear(SILENCE_DBOV)
    assert not any(talking.hear(SILENCE_DBOV) for _ in range(100))


def test_a_voice_that_trails_off_does_not_flicker():
    talking = Talking()
    assert talking.hear(30)
    assert all(talking.hear(48) for _ in range(100))  # below the threshold, within hysteresis
    assert [talking.hear(60) for _ in range(HANG_FRAMES)][-1] is False
    assert not talking.hear(48)
