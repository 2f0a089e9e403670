"""Closed and social rooms at real nodes: who waits, who comes in, and that who is in is heard."""

import stat

import pytest

from p2phouse.ask import NodeFailed
from tests.e2e.nodes import heard, until


def knock(node, link):
    """A join that waits; its events go on with the answer."""
    asking = node.begin("join", room=link)
    events = iter(asking)
    assert next(events)["event"] == "knocking"
    return asking, events


def test_who_is_let_into_a_closed_room_is_heard_there_and_it_is_on_no_list(
    make_node, clips, tmp_path
):
    ana, ben, cleo = (make_node(name, "--loopback") for name in ("ana", "ben", "cleo"))
    facts = ana.asked("open", title="Secret tea", access="closed")
    asking, events = knock(ben, facts["link"])
    until(lambda: ana.asked("status")["lobby_count"] == 1, "the knock")
    assert ben.asked("status")["waiting"] == "lobby"
    assert ben.asked("members")["members"] == []
    assert ana.asked("members")["people"] == 1
    (waiting,) = ana.asked("lobby")["people"]
    ana.asked("admit", who=waiting["key_tag"])
    assert list(events) == []
    assert asking.result["title"] == "Secret tea"
    for node in (ana, ben):
        until(lambda node=node: node.is_connected_to(1), "a link")
        until(lambda node=node: node.asked("status")["keys"] == "current", "the key")
    assert heard(ben, ana, clips[0], tmp_path / "ana.wav").delay_ms_p50 is not None
    for node in (ben, cleo):
        assert not node.sees(facts["room"])
    for node in (ana, ben, cleo):
        assert "Secret" not in node.log


@pytest.mark.nightly
def test_a_single_use_invite_is_used_once_though_its_maker_is_killed(make_node):
    ana, ben, cleo = (make_node(name, "--loopback") for name in ("ana", "ben", "cleo"))
    ana.asked("open", title="Tea", access="closed")
    used = ana.asked("invite_link", once=True)["link"]
    unused = ana.asked("invite_link", once=True)["link"]
    ben.asked("join", room=used)
    until(lambda: ana.is_connected_to(1), "ben")
    kept = ana.home / "invites.cbor"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    ana.kill()
    ana.start()
    until(lambda: ana.asked("status")["room"] is not None, "coming back to the room")
    # Ana listens on another port now: the links name the old one, the invites in them are good.
    link = ana.asked("status")["link"]
    with pytest.raises(NodeFailed, match="used the invite already"):
        cleo.asked("join", room=f"{link}&i={used.partition('&i=')[2]}")
    assert cleo.asked("join", room=f"{link}&i={unused.partition('&i=')[2]}")["people"] >= 2


@pytest.mark.nightly
def test_whom_a_host_follows_comes_into_a_social_room_at_once(make_node):
    ana, ben, cleo = (make_node(name, "--loopback") for name in ("ana", "ben", "cleo"))
    ana.asked("follow", who=ben.asked("id")["uid"], name="Ben")
    ana.stop()
    ana.start()
    assert [each["name"] for each in ana.asked("following")["people"]] == ["Ben"]
    room = ana.asked("open", title="Tea", access="social")["room"]
    for node in (ben, cleo):
        until(lambda node=node: node.sees(room), "the hallway")
    assert ben.asked("join", room=room)["title"] == "Tea"
    asking, events = knock(cleo, room)
    until(lambda: ana.asked("status")["lobby_count"] == 1, "the knock")
    ana.asked("refuse", who="cleo")
    with pytest.raises(NodeFailed, match="did not let you in"):
        list(events)
    assert asking.result == {}
