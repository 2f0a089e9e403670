"""A room of real nodes that a relay carries, and what its people hear when the relay goes."""

import time

import pytest

from tests.e2e.nodes import until
from tests.e2e.relays import relay_room


@pytest.fixture(autouse=True)
def _shows_the_relay(request, tmp_path):
    yield
    log = tmp_path / "relay.log"
    if log.exists() and request.node.stash.get(FAILED, False):
        print(log.read_text(errors="replace")[-6_000:])


FAILED = pytest.StashKey[bool]()


def test_a_relay_carries_a_room_and_a_member_takes_over_when_it_dies(lan, make_node, tmp_path):
    """And has it back once it has been started anew, since whoever opened the room asks again."""
    with relay_room(lan, make_node, tmp_path) as room:
        for name, node in room.nodes.items():
            told = [each for each in node.asked("members")["members"] if each.get("relay")]
            assert [each["name"] for each in told] == ["Dev"], name
            assert node.asked("status")["people"] == len(room.nodes)
        room.talk()
        room.hear(100)
        killed = room.relay.kill()
        room.hear(150, within_s=20.0)
        now = time.time()
        gaps = {name: round(room.gap_ms(name, killed, now)) for name in room.listeners}
        print(f"gaps after the relay was killed: {gaps} ms")
        assert max(gaps.values()) <= 2_000, gaps
        room.relay.start()
        room.all_by_relay()
        room.hear(100)


@pytest.mark.nightly
def test_a_relay_that_drains_loses_no_frame(lan, make_node, tmp_path):
    with relay_room(lan, make_node, tmp_path) as room:
        room.talk()
        room.hear(150)
        at = room.relay.drain()
        until(lambda: room.relay.process.poll() is not None, "the relay has drained", 60.0)
        room.hear(150, within_s=20.0)
        now = time.time()
        missing = {name: room.missing(name, at - 1, now - 1) for name in room.listeners}
        gaps = {name: round(room.gap_ms(name, at, now)) for name in room.listeners}
        print(f"drained: {missing} frames missing, longest spacing {gaps} ms")
        assert not any(missing.values()), missing


def test_a_closed_room_is_carried_by_a_relay_that_is_let_in_nowhere(lan, make_node, tmp_path):
    with relay_room(lan, make_node, tmp_path, "closed", people=("speaker", "ana", "ben")) as room:
        room.talk()
        room.hear(100)
        assert room.nodes["ana"].asked("lobby")["people"] == []
