"""More than eight real nodes in one room, each in a namespace of its own; one carries the room."""

import re
import time
from pathlib import Path

from p2phouse.hearing import Hearing, measure
from tests.e2e.conftest import Lan
from tests.e2e.nodes import Ear, ProcessNode, read_sound, until, wait_for_reports

SETTLES_S_MAX = 60.0
LINK = re.compile(r"room_link_(up|closed|down|replaced) peer=(\w+)")


def crowd(lan: Lan, make_node, count: int) -> list[ProcessNode]:
    """Nodes that run. Started one after another, as people come."""
    return [make_node(f"node{n}", namespace=lan.host(n)) for n in range(1, count + 1)]


def settles(holds, what: str, within_s: float = SETTLES_S_MAX) -> float:
    """As `until`, but looks seldom: to ask a dozen nodes takes a good part of the machine."""

    def seldom() -> bool:
        time.sleep(0.3)
        return bool(holds())

    return until(seldom, what, within_s)


def come(nodes: list[ProcessNode], room: str) -> None:
    """They join one after another."""
    for node in nodes:
        until(lambda node=node: node.sees(room), "seeing the room")
        node.asked("join", room=room)


def carriers(node: ProcessNode) -> tuple[str, str] | None:
    """Names of hub and standby as the node sees them."""
    facts = node.asked("status")
    hub, standby = facts.get("hub"), facts.get("standby")
    return (hub["name"], standby["name"]) if hub and standby else None


def agreed(nodes: list[ProcessNode]) -> tuple[str, str]:
    """Waits until all name the same two, who are among them."""
    names = {node.home.name for node in nodes}
    found: set[tuple[str, str] | None] = set()

    def agree() -> bool:
        found.clear()
        found.update(carriers(node) for node in nodes)
        two = next(iter(found))
        return len(found) == 1 and two is not None and {*two} <= names

    settles(agree, "one hub and one standby")
    two = found.pop()
    assert two is not None
    return two


def room_links(node: ProcessNode, nodes: list[ProcessNode]) -> set[str]:
    """Names of those with whom it holds a room link, by its log."""
    shorts = {short_of(each): each.home.name for each in nodes}
    held: set[str] = set()
    for what, peer in LINK.findall(node.log):
        (held.add if what == "up" else held.discard)(shorts.get(peer, peer))
    return held


def short_of(node: ProcessNode) -> str:
    """As logs name it; the last, for it may have been started anew."""
    return str(re.findall(r"node ready dev=(\w+)", node.log)[-1])


class Talk:
    """The speaker says a clip while all others listen. `end` waits for its end."""

    def __init__(
        self, speaker: ProcessNode, listeners: list[ProcessNode], clip: Path, folder: Path
    ) -> None:
        self._clip = clip
        self._ears = {node: Ear(node, folder / f"{node.home.name}.wav") for node in listeners}
        self._asking = speaker.begin("say", path=str(clip))
        until(lambda: not speaker.me()["muted"], "speaking")

    def end(self, *gone: ProcessNode) -> dict[str, Hearing]:
        """What each heard, but for those who are gone."""
        list(self._asking)
        ears = {node: ear for node, ear in self._ears.items() if node not in gone}
        for node in ears:
            wait_for_reports(node, 1)  # the end is played
        spoken_s, sent = self._asking.result["began_mono_s"], read_sound(self._clip)
        heard = {node.home.name: ear.stop() for node, ear in ears.items()}
        return {
            name: measure(sent=sent, spoken_s=spoken_s, heard=sound, played_s=from_s)
            for name, (sound, from_s) in heard.items()
        }


def misheard(heard: dict[str, Hearing], stoi_min: float) -> dict[str, float | None]:
    """Who did not understand it."""
    return {
        name: each.stoi
        for name, each in heard.items()
        if each.stoi is None or each.stoi <= stoi_min
    }
