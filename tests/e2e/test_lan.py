"""Nodes on a LAN of their own: they find one another by themselves and hear what was said."""

import time

import pytest

from p2phouse.hearing import STOI_HEARD_MIN
from tests.e2e.nodes import gather, heard, until


@pytest.fixture
def three(lan, make_node):
    return [
        make_node(name, namespace=lan.host(number))
        for number, name in enumerate(("ana", "ben", "carla"), start=1)
    ]


def test_three_nodes_find_one_another_and_each_hears_the_others(three, clips, tmp_path):
    gather(three)
    for speaker, clip in zip(three, clips, strict=True):
        for listener in three:
            if listener is not speaker:
                hearing = heard(speaker, listener, clip, tmp_path / "heard.wav")
                assert hearing.stoi >= STOI_HEARD_MIN, (
                    f"{listener.home.name} of {speaker.home.name}"
                )


def test_a_node_that_starts_after_the_room_was_opened_sees_it(lan, make_node):
    ana = make_node("ana", namespace=lan.host(1))
    room = ana.asked("open", title="Tea")["room"]
    ben = make_node("ben", namespace=lan.host(2))
    until(lambda: ben.sees(room), "a late node seeing the room", within_s=10)


def test_nobody_is_heard_before_they_unmute(three, clips, tmp_path):
    gather(three)
    assert all(node.me()["muted"] for node in three)
    assert all(other["muted"] for other in three[0].others().values())


def test_who_leaves_is_gone_for_the_others_and_the_talk_goes_on(three, clips, tmp_path):
    ana, ben, carla = three
    gather(three)
    carla.asked("leave")
    for node in (ana, ben):
        until(lambda node=node: len(node.others()) == 1, "carla gone")
    assert heard(ana, ben, clips[0], tmp_path / "heard.wav").stoi >= STOI_HEARD_MIN


def test_a_killed_node_comes_back_muted_as_the_same_person_and_is_heard(three, clips, tmp_path):
    ana, ben, carla = three
    gather(three)
    before = carla.asked("id")["peer_id"]
    carla.kill()
    for node in (ana, ben):
        until(lambda node=node: len(node.others()) == 1, "carla lost", within_s=5)
    carla.start()
    for node in three:
        until(lambda node=node: node.is_connected_to(2), "everybody back")
    assert carla.asked("id")["peer_id"] == before
    assert carla.me()["muted"]
    assert heard(carla, ana, clips[2], tmp_path / "heard.wav").stoi >= STOI_HEARD_MIN


def test_the_host_may_be_killed_and_the_rest_hear_one_another(three, clips, tmp_path):
    ana, ben, carla = three
    gather(three)
    ana.kill()
    for node in (ben, carla):
        until(lambda node=node: len(node.others()) == 1, "ana lost", within_s=5)
    assert heard(ben, carla, clips[1], tmp_path / "heard.wav").stoi >= STOI_HEARD_MIN


def test_a_pulled_cable_is_noticed_and_plugged_in_again_all_is_well(lan, three, clips, tmp_path):
    ana, _ben, carla = three
    gather(three)
    lan.unplug(3)
    noticed = until(
        lambda: "connected" not in [o["link"] for o in carla.others().values()],
        "carla noticing that nobody is heard",
        within_s=5,
    )
    assert noticed < 5
    until(lambda: len(ana.others()) == 1, "carla lost to ana", within_s=60)
    lan.plug(3)
    for node in three:
        until(lambda node=node: node.is_connected_to(2), "everybody back", within_s=60)
    assert heard(ana, carla, clips[0], tmp_path / "heard.wav").stoi >= STOI_HEARD_MIN


def test_a_frozen_node_is_shown_silent_within_a_second(three):
    import os
    import signal

    ana, ben, carla = three
    gather(three)
    frozen = [carla.process.pid, carla.facts["media_pid"]]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        (carla_id,) = set(ana.others()) & set(ben.others())
        until(
            lambda: ana.others().get(carla_id, {"link": "gone"})["link"] != "connected",
            "carla silent",
            within_s=5,
        )
        assert time.monotonic() - began < 5
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


def test_joining_by_a_typed_address(lan, make_node, clips, tmp_path):
    ana = make_node("ana", "--no-lan", namespace=lan.host(1))
    ben = make_node("ben", "--no-lan", namespace=lan.host(2))
    ana.asked("open", title="Tea")
    ben.asked("join", room=f"10.77.0.1:{ana.facts['port']}")
    until(lambda: ben.is_connected_to(1), "a link")
    assert heard(ana, ben, clips[0], tmp_path / "heard.wav").stoi >= STOI_HEARD_MIN


def test_joining_by_a_link(lan, make_node):
    ana = make_node("ana", "--no-lan", namespace=lan.host(1))
    ben = make_node("ben", "--no-lan", namespace=lan.host(2))
    link = ana.asked("open", title="Tea")["link"]
    ben.asked("join", room=link)
    until(lambda: ben.is_connected_to(1), "a link")


@pytest.mark.nightly
def test_where_nobody_would_carry_a_room_eight_talk_and_a_ninth_is_told_why_not(lan, make_node):
    nodes = [make_node(f"node{n}", namespace=lan.host(n)) for n in range(1, 10)]
    for node in nodes:
        node.asked("carry", choice="never")
    room = gather(nodes[:8])
    until(lambda: nodes[8].sees(room), "the ninth seeing the room")
    with pytest.raises(Exception, match="needs a relay"):
        nodes[8].asked("join", room=room)


def test_a_machine_with_loopback_alone(lan, make_node, clips, tmp_path):
    import subprocess

    namespace = lan.host(1)
    subprocess.run(["ip", "-n", namespace, "link", "del", "eth0"], check=True)
    ana = make_node("ana", namespace=namespace)
    ben = make_node("ben", namespace=namespace)
    gather([ana, ben])
    assert heard(ana, ben, clips[0], tmp_path / "heard.wav").stoi >= STOI_HEARD_MIN
