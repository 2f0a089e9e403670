"""That loss is hidden, with room for luck; bench/quality.py has the figures themselves."""

from statistics import fmean

from bench.quality import Run, one_run
from tests.voice.speech import CLIPS
from tests.voice.wire import Conditions


def heard(loss: float) -> list[Run]:
    runs = [one_run(clip, Conditions(0.03, loss=loss), seed) for seed, clip in enumerate(CLIPS)]
    assert all(runs), "delay changed, though packets were lost and none was late"
    return [run for run in runs if run]


def test_speech_without_loss_is_as_good_as_the_codec():
    for run in heard(0.0):
        assert run.shipped.pesq > 3.9
        assert run.shipped.stoi > 0.97
        assert abs(run.shipped.pesq - run.concealing.pesq) < 0.02


def test_of_ten_percent_loss_little_is_heard():
    runs = heard(0.10)
    assert fmean(run.zeroed.pesq for run in runs) < 2.0  # the loss is real
    assert fmean(run.concealing.pesq for run in runs) < 2.6  # and concealing is not enough
    assert fmean(run.shipped.pesq for run in runs) > 3.0
    assert fmean(run.shipped.stoi for run in runs) > 0.95
