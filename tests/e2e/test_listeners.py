"""Twelve real nodes of whom two speak: listeners hold links with hub and standby alone, and see and
hear what happens by one digest a second."""

import pytest

from p2phouse.ask import NodeSaid
from tests.e2e.crowds import Talk, agreed, come, crowd, misheard, room_links, settles
from tests.e2e.nodes import ProcessNode, until, wait_for_reports
from tests.e2e.test_hub import ALIKE_MIN, linked

COUNT = 12  # with two less they are more than a mesh holds still
SEEN_S_MAX = 2.0  # one digest a second, and what is on its way
LINKS_S_MAX = 40.0  # a spare room link is closed after ten seconds


def named(node: ProcessNode, name: str):
    """What a node sees of somebody; empty if it knows nothing."""
    return next((each for each in node.others().values() if each["name"] == name), {})


def soon_all(nodes: list[ProcessNode], holds, what: str) -> None:
    """All of them see it within two seconds."""
    left = list(nodes)

    def seen() -> bool:
        left[:] = [node for node in left if not holds(node)]
        return not left

    took_s = until(seen, what, SEEN_S_MAX)
    print(f"{what}: {took_s:.2f} s")


def chat_of(node: ProcessNode) -> list[str]:
    return [each["text"] for each in node.asked("messages")["messages"]]


def has_settled(listeners: list[ProcessNode], nodes: list[ProcessNode], two: set[str]) -> bool:
    return all(
        room_links(node, nodes) == two == linked(node)
        and node.asked("status")["people"] == len(nodes)
        for node in listeners
    )


@pytest.mark.nightly
def test_listeners_see_and_hear_by_digests_and_go_on_when_their_hub_dies(
    lan, make_node, clips, tmp_path
):
    nodes = crowd(lan, make_node, COUNT)
    host, second, *others = nodes
    for node in (host, second):
        node.asked("carry", choice="never")
    room = host.asked("open", title="Tea", stage="invited")["room"]
    come(nodes[1:], room)
    second.asked("hand")
    until(lambda: named(host, second.home.name).get("hand"), "the second's hand")
    host.asked("invite", who=second.home.name)
    until(lambda: second.me()["on_stage"], "the second on the stage")

    two = {*agreed(nodes)}
    listeners = [node for node in others if node.home.name not in two]
    assert len(listeners) >= 6
    settles(lambda: has_settled(listeners, nodes, two), "links with two alone", LINKS_S_MAX)
    everything_is_seen(host, listeners, "before")
    assert not misheard(Talk(second, listeners, clips[0], tmp_path).end(), ALIKE_MIN)

    # Who has not said a word is a number to the host, and is invited and put out all the same.
    shy, quiet = listeners[-2], listeners.pop()
    assert not named(host, shy.home.name)
    assert not named(host, quiet.home.name)
    host.asked("invite", who=shy.home.name)
    until(lambda: shy.me()["invited"], "the invitation", SEEN_S_MAX)
    host.asked("audience", who=shy.home.name)
    listed = {each["name"] for each in host.asked("listeners")["listeners"]}
    assert listed == {node.home.name for node in [*listeners, quiet]}
    host.asked("role", who=quiet.home.name, role="ban")
    until(lambda: quiet.asked("status")["room"] is None, "who is banned being out", SEEN_S_MAX)
    nodes.remove(quiet)
    soon_all(listeners, lambda node: node.asked("status")["people"] == len(nodes), "one less")
    with pytest.raises(NodeSaid, match="Nobody here is called"):
        host.asked("role", who="no such node", role="ban")

    name, standby = agreed(nodes)
    talk = Talk(second, listeners, clips[1], tmp_path)
    wait_for_reports(listeners[0], 2)
    hub = next(node for node in nodes if node.home.name == name)
    hub.crash()
    assert not misheard(talk.end(), ALIKE_MIN)
    nodes.remove(hub)
    two = {*agreed(nodes)}
    assert standby in two
    listeners = [node for node in listeners if node.home.name not in two]
    settles(lambda: has_settled(listeners, nodes, two), "links with the new two", LINKS_S_MAX)
    everything_is_seen(host, listeners, "after")
    assert not misheard(Talk(second, listeners, clips[2], tmp_path).end(), ALIKE_MIN)


def everything_is_seen(host: ProcessNode, listeners: list[ProcessNode], when: str) -> None:
    """An entry, a hand, a word of chat, a reaction's end: from the host, and from one of them."""
    one, *rest = listeners
    host.asked("title", title=f"Tea {when}")
    soon_all(listeners, lambda node: node.asked("status")["title"] == f"Tea {when}", "the title")
    one.asked("hand", topic=when)
    soon_all(
        [host, *rest],
        lambda node: (named(node, one.home.name).get("hand") or {}).get("topic") == when,
        "a hand",
    )
    one.asked("lower_hand")
    soon_all([host, *rest], lambda node: not named(node, one.home.name).get("hand"), "a hand's end")
    one.asked("chat", text=f"good evening {when}")
    soon_all([host, *rest], lambda node: f"good evening {when}" in chat_of(node), "a word of chat")
    host.asked("chat", text=f"welcome {when}")
    soon_all(listeners, lambda node: f"welcome {when}" in chat_of(node), "the host's word")
