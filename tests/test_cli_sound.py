"""`p2phouse sound-check`, typed at two real nodes: who is not heard, why, and what helps."""

import pytest

from tests.e2e.nodes import gather, until
from tests.typed import said, told, two_nodes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as made:
        yield made


def test_a_sound_check_says_what_is_wrong_and_what_helps(nodes):
    ana, ben = nodes
    gather(nodes)
    assert said(ana, "sound-check") == "Nothing is known to be wrong.\n"
    ana.asked("role", who="ben", role="muted")
    until(lambda: ben.asked("sound_check")["causes"], "the mute")
    assert said(ben, "sound-check") == (
        "You: ana has muted you. Raise your hand, or ask in the chat.\n"
    )
    assert said(ana, "sound-check") == (
        "ben: ana has muted ben. Whoever runs the room can lift it.\n"
    )
    code, facts = told(ben, "sound-check")
    assert code == 0
    assert [(each["cause"], each["by"], each["you"]) for each in facts["causes"]] == [
        ("muted_by", "ana", True)
    ]


def test_the_doctor_says_what_works_and_what_does_not(nodes):
    ana, _ben = nodes
    printed = said(ana, "doctor")
    assert "-     network    This node meets only nodes of this machine, as you asked.\n" in printed
    assert "This node has no microphone.\n" in printed
    assert "Start it without --no-page" in printed
    code, facts = told(ana, "doctor")
    assert code == 0
    found = {each["what"]: each for each in facts["findings"]}
    assert found["meeting"]["ok"] is not False
    assert found["nat"]["ok"] is None
