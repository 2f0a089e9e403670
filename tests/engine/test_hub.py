"""Two listeners are fed by one of two forwarders: real media processes, real links on loopback."""

import time

import pytest

from p2phouse import channel
from p2phouse.channel import TableRow, VoiceCondition
from p2phouse.vocabulary import HERE, Ssrc
from tests.e2e.nodes import until
from tests.engine.stage import BETWEEN, SPEAKER, TO_HUB, TO_STANDBY, Stage

# 60 ms of silence, a tick to notice it, a frame until the next packet; the rest is the machine,
# which may run other tests beside.
GAP_MS_MAX = 500


@pytest.fixture
def stage(make_child, tmp_path):
    stage = Stage(make_child, tmp_path)
    stage.speaker.say(channel.SetInput("tone"))
    for listener in stage.listeners:
        listener.child.next(channel.VoiceState, ssrc=stage.voice, condition=VoiceCondition.FLOWING)
    return stage


def hear_for(stage: Stage, packets: int) -> None:
    for listener in stage.listeners:
        wanted = len(listener.packets) + packets
        until(lambda listener=listener, n=wanted: len(listener.packets) >= n, "more packets", 10)


def test_listeners_hear_on_when_their_forwarder_is_killed_before_anybody_decides_anything(stage):
    hear_for(stage, 10)
    began = time.time()
    stage.hub.process.kill()
    hear_for(stage, 50)
    for listener in stage.listeners:
        gap_ms = listener.gap_ms_since(began)
        assert 20 < gap_ms <= GAP_MS_MAX + stage.speaker_paused_ms_since(began)
        # What was on its way to the hub is lost, and what that one had sent on may come after its
        # death; all that followed has come.
        assert listener.missing_since(listener.gap_since(began)[1]) == 0
    told = stage.standby.next(channel.Pulls, count=2)
    assert told.of == 2
    assert stage.standby.next(channel.Silent, link=BETWEEN)


@pytest.mark.nightly
def test_while_the_hub_lives_its_standby_sends_next_to_nothing(stage):
    hear_for(stage, 100)
    stats = stage.standby.latest_stats()
    sent = {link.link: link.sent for link in stats.links}
    assert sent[BETWEEN] == 0
    assert all(sent[member] <= 6 for member in stage.members)  # samples: one in 64


@pytest.mark.nightly
def test_a_planned_hand_over_loses_no_frame_and_releases_the_former_hub(stage):
    hear_for(stage, 50)
    began = time.time()
    voice, members = stage.voice, stage.members
    # In any order: nobody has to know that another has adopted.
    for listener in stage.listeners:
        listener.child.set_table(TableRow(TO_STANDBY, voice, (TO_HUB,), (HERE,)))
    hear_for(stage, 10)
    stage.standby.set_table(
        TableRow(SPEAKER, voice, (), (HERE, *members), warm=(BETWEEN,)), hurried=(BETWEEN,)
    )
    for member in members:
        stage.hub.next(channel.Released, link=member)
    stage.hub.set_table(
        TableRow(SPEAKER, voice, (BETWEEN,), (HERE,), warm=members), guarded=BETWEEN
    )
    hear_for(stage, 50)
    for listener in stage.listeners:
        assert listener.missing_since(began) == 0
        assert listener.gap_ms_since(began) < 100 + stage.speaker_paused_ms_since(began)
        listener.child.next(channel.FirstPacket, link=TO_STANDBY)


@pytest.mark.nightly
def test_a_hub_that_lives_but_carries_nothing_is_got_round(stage):
    hear_for(stage, 20)
    began = time.time()
    stage.hub.set_table(TableRow(SPEAKER, stage.voice, (), (HERE,)), hurried=(BETWEEN,))
    hear_for(stage, 50)
    for listener in stage.listeners:
        assert listener.gap_ms_since(began) < 1_500


@pytest.mark.nightly
def test_a_voice_that_the_hub_leaves_out_comes_by_the_standby(stage):
    """The hub lives and says that it carries; the other voices would come."""
    hear_for(stage, 20)
    began = time.time()
    rows = [TableRow(SPEAKER, stage.voice, (), (HERE,))]
    rows += [TableRow(HERE, Ssrc(7), (), stage.members)]
    stage.hub.set_table(*rows, hurried=(BETWEEN,))
    hear_for(stage, 20)
    for listener in stage.listeners:
        assert listener.gap_ms_since(began) < 5_500  # three samples are missing, one each 1.28 s
