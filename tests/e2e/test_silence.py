"""Real nodes say why somebody is not heard: both ends of it, and what is wrong with ourselves."""

import os
import signal
import time

import pytest

from tests.e2e import witness
from tests.e2e.nodes import ProcessNode, gather, until

KNOWN_S_MAX = 12.0  # three seconds of silence, a report each second, and a busy machine


def causes(node: ProcessNode, *, you: bool) -> list[str]:
    """What keeps us, or the one other, from being heard."""
    return [each["cause"] for each in node.asked("sound_check")["causes"] if each["you"] is you]


def see(node: ProcessNode, *wanted: str, you: bool) -> float:
    expected = list(wanted)
    what = f"{expected} for {'us' if you else 'the other'}"
    return until(lambda: causes(node, you=you) == expected, what, within_s=KNOWN_S_MAX)


@pytest.fixture
def people(make_node):
    """Ana has a room and a microphone that works; of Ben the test says what he has."""

    def make(*audio: str) -> tuple[ProcessNode, ProcessNode]:
        ana = make_node("ana", "--loopback", "--name", "Ana", "--audio", "tone")
        ben = make_node("ben", "--loopback", "--name", "Ben", *audio)
        gather([ana, ben])
        ana.asked("unmute")
        return ana, ben

    return make


@pytest.mark.nightly
def test_a_microphone_that_gives_nothing_is_explained_to_its_owner(people):
    ana, ben = people("--audio", "silence")
    assert causes(ben, you=True) == []
    ben.asked("unmute")
    assert see(ben, "level_zero", you=True) > 2.5
    fact = ben.me()["silence"]
    assert fact["text"] == "Your microphone gives no sound."
    assert ben.asked("status")["silence"] == fact
    # To Ana a quiet person is a quiet person: his background comes through.
    assert causes(ana, you=False) == []
    ben.asked("mute")
    see(ben, you=True)


@pytest.mark.nightly
def test_a_microphone_that_cannot_be_had_is_explained_and_its_owner_muted(people):
    _, ben = people("--audio", "device:No Such Microphone")
    see(ben, "output_blocked", you=True)  # his loudspeaker is on the same device
    ben.asked("unmute")
    see(ben, "device_lost", "output_blocked", you=True)
    assert ben.me()["muted"]
    assert ben.me()["silence"]["text"]


@pytest.mark.nightly
def test_who_is_unmuted_without_a_microphone_is_explained_to_both(people):
    ana, ben = people()
    ben.asked("unmute")
    see(ben, "no_microphone", you=True)
    see(ana, "no_packets", you=False)
    ben.asked("mute")
    see(ana, you=False)


def test_a_moderator_s_mute_names_who_decided_it_to_both(people):
    ana, ben = people()
    ana.asked("role", who="Ben", role="muted")
    see(ben, "muted_by", you=True)
    (told,) = ben.asked("sound_check")["causes"]
    assert (told["by"], told["text"]) == ("Ana", "Ana has muted you.")
    see(ana, "muted_by", you=False)
    ana.asked("role", who="Ben", role="speaker")
    see(ben, you=True)


@pytest.mark.nightly
def test_a_link_that_is_down_is_explained_until_it_is_up(people):
    ana, ben = people("--audio", "tone")
    ben.asked("unmute")
    until(lambda: not next(iter(ana.others().values()))["muted"], "ben unmuted")
    os.kill(ben.facts["media_pid"], signal.SIGSTOP)
    try:
        see(ana, "link_down", you=False)
        assert "link_down" in causes(ana, you=True)
    finally:
        os.kill(ben.facts["media_pid"], signal.SIGCONT)
    see(ana, you=False)


def test_a_voice_that_its_speaker_does_not_prove_is_marked_and_played_no_more(
    make_node, monkeypatch, clips
):
    """Within three seconds of the first frame, which the nodes' own clocks tell."""
    ana = make_node("ana", "--loopback")
    monkeypatch.setenv(witness.FORGE, "1")
    mallory = make_node("mallory", "--loopback", cheats=False)
    gather([ana, mallory])
    watching = ana.begin("events")
    events = iter(watching)
    saying = mallory.begin("say", path=str(clips[0]))
    while next(events)["event"] != "voice_heard":
        pass
    heard = time.monotonic()
    see(ana, "unproved", you=False)
    assert time.monotonic() - heard < 4.0  # a busy machine tells it late
    other = next(iter(ana.others().values()))
    assert not other["forged"], "her proofs may only be lost, as far as Ana knows"
    assert other["silence"]["cause"] == "unproved"
    saying.stop()
    watching.stop()
    for _ in (*saying, *events):
        pass
    # Mallory has a new voice once she comes back to the stage; nothing is said of that yet.
    mallory.asked("step_down")
    mallory.asked("accept")
    see(ana, you=False)
