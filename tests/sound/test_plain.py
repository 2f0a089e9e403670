from hypothesis import example, given
from hypothesis import strategies as st

from p2phouse.channel import FrameReader, VoiceCondition, VoiceState, encode
from p2phouse.sound.plain import NAME_MAX, plain
from p2phouse.vocabulary import Ssrc


def test_a_long_path_keeps_its_end():
    shown = plain("/home/ana/" + "x" * 300 + "/song.wav")
    assert len(shown) == NAME_MAX
    assert shown.startswith("…x")
    assert shown.endswith("/song.wav")
    assert plain("/home/ana/song.wav") == "/home/ana/song.wav"


@given(st.text(st.characters(), max_size=300))
@example("\udcff is no character")
def test_whatever_a_device_is_called_the_channel_carries_it(name: str):
    state = VoiceState(Ssrc(0), VoiceCondition.INPUT_FAILED, f"There is {plain(name)}.")
    assert FrameReader("up").feed(encode(state)) == [state]


def test_a_name_cannot_write_on_the_terminal():
    assert plain("red \x1b[31m\nor \u202eback\ufeff") == "red ?[31m?or ?back?"
