"""How loud a voice is at one's own ear: a blocked person's is not there at all."""

import numpy as np

from p2phouse import channel
from p2phouse.channel import VoiceCondition
from p2phouse.sound.files import load, to_float
from tests.engine.test_media import pair  # noqa: F401 - a fixture


def play(ben, reports: int) -> None:
    """Until so many more reports came, one a second: by the last a second less was played."""
    for _ in range(reports):
        ben.latest_stats()


def test_a_voice_at_gain_zero_is_silence_and_at_another_as_much_quieter_or_louder(pair, tmp_path):  # noqa: F811
    ana, ben = pair
    heard = tmp_path / "heard.wav"
    ben.say(channel.SetGain(ana.ssrc, 0), channel.SetOutput(f"file:{heard}"))
    ben.next(channel.VoiceState, condition=VoiceCondition.OUTPUT_STARTED)
    ana.say(channel.SetInput("tone"))
    ben.next(channel.VoiceState, ssrc=ana.ssrc, condition=VoiceCondition.FLOWING)
    play(ben, 3)
    for permille in (500, 1_000):
        ben.say(channel.SetGain(ana.ssrc, permille))
        play(ben, 3)
    ben.say(channel.SetOutput("none"))
    ben.next(channel.VoiceState, condition=VoiceCondition.OUTPUT_ENDED)
    sound = to_float(load(str(heard)))
    windows = sound[: len(sound) // 960 * 960].reshape(-1, 960)
    loudness = np.sqrt(np.mean(windows**2, axis=1))
    # Security: of a blocked person nothing is heard, not even the first frame.
    first = int(np.argmax(loudness > 0))
    assert first >= 50
    assert not np.any(sound[: first * 960])
    loud = np.median(loudness[-50:])
    quiet = np.median(loudness[first + 10 : first + 90])
    assert 0.35 < quiet / loud < 0.7  # half; the tone itself swells a little
