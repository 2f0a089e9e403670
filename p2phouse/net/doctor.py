"""What a person should know of the ground that a node stands on, from what the node observed.

Pure: `examination.py` observes. A finding says what is so in words for anybody, and what to do; it
says that it does not know rather than guess.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from p2phouse.net.addresses import Address, Interface
from p2phouse.net.ports import PORT_DEFAULT

SKEW_S_MAX: Final = 120.0  # records from further ahead are refused (record/limits.py)
STALE_S: Final = 900.0  # a card is told again each five minutes; all this old means a fast clock

LOOK_AT_RELAY: Final = (
    "See that the relay you named runs, and that its HOST:PORT is what `p2phouse id show` says "
    "there; this node goes on asking."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """what: a code. ok: None where there is nothing to judge, or no way to tell."""

    what: str
    ok: bool | None
    text: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """interfaces: of this machine, loopback left out. heard, unanswered: nodes that announce
    themselves in the local network, and those of them that answer nothing. apart: names of people
    in our room who stand in our network and are not reached in it. here_peers, near_peers,
    far_peers: connected, on this machine, in its networks, and elsewhere. relays_found: of those
    named, how many are connected. reflections: where one socket
    seems to be, by each relay that was asked; None: no answer. clock_s: how far others' clocks are
    ahead of ours."""

    lan: str
    interfaces: Sequence[Interface]
    has_way_out: bool
    port: int
    any_port: bool  # the person asked for none
    heard: int
    unanswered: int
    lan_trouble: str
    apart: Sequence[str]
    here_peers: int
    near_peers: int
    far_peers: int
    known_peers: int
    in_table: int
    is_public: bool
    was_reached: bool  # somebody far away has come to us
    relays: int
    relays_named: int
    relays_found: int
    relay_only: bool
    carries: bool
    places: int
    circuits: int
    asked_port: int
    reflections: Sequence[Address | None]
    clock_s: float | None


def diagnose(seen: Observed) -> list[Finding]:
    return [
        *_network(seen),
        *_multicast(seen),
        *_isolation(seen),
        _internet(seen),
        _meeting(seen),
        *_nat(seen),
        _reachable(seen),
        _relaying(seen),
        _clock(seen),
        *_port(seen),
    ]


def _network(seen: Observed) -> Iterator[Finding]:
    if seen.relay_only:
        return  # it stands on no network by choice, which `_nat` says
    if seen.lan == "loopback":
        yield Finding("network", None, "This node meets only nodes of this machine, as you asked.")
    elif not seen.interfaces:
        yield Finding(
            "network",
            False,
            "This machine is on no network.",
            "Join a Wi-Fi or plug in a cable; the node notices by itself.",
        )
    else:
        names = ", ".join(str(each.ip) for each in seen.interfaces[:4])
        yield Finding("network", True, f"This machine is on a network, as {names}.")


def _multicast(seen: Observed) -> Iterator[Finding]:
    if seen.lan != "on":
        yield Finding(
            "multicast", None, "Nodes in the local network are not looked for, as you asked."
        )
    elif not any(each.is_private for each in seen.interfaces):
        yield Finding("multicast", None, "There is no local network to look for nodes in.")
    elif seen.lan_trouble:
        yield Finding("multicast", False, seen.lan_trouble, "Join by address: HOST:PORT.")
    elif seen.heard:
        yield Finding("multicast", True, f"Nodes heard in the local network: {seen.heard}.")
    else:
        yield Finding(
            "multicast",
            None,
            "No other node was heard in the local network: either nobody is there, or the network "
            "does not pass on what nodes call out (multicast).",
            "If somebody is there, join by their address: HOST:PORT, as their "
            "`p2phouse id show` says.",
        )


def _isolation(seen: Observed) -> Iterator[Finding]:
    if seen.lan == "loopback" or seen.relay_only:
        return  # nobody there is meant to answer
    remedy = (
        "Use another Wi-Fi (not the one for guests), a cable or a phone's hotspot, or meet through "
        "a node with a public address."
    )
    if seen.apart:
        yield Finding(
            "isolation",
            False,
            "This Wi-Fi keeps its devices apart, or a firewall does: "
            f"{', '.join(seen.apart[:3])} {'is' if len(seen.apart) == 1 else 'are'} in it too and "
            "cannot be reached.",
            remedy,
        )
    elif seen.heard and seen.unanswered == seen.heard and not seen.near_peers:
        yield Finding(
            "isolation",
            False,
            "This Wi-Fi keeps its devices apart, or a firewall does: nodes are heard in it and "
            "none of them answers.",
            remedy,
        )
    elif seen.near_peers:
        yield Finding("isolation", True, f"Nodes reached in this network: {seen.near_peers}.")


def _internet(seen: Observed) -> Finding:
    if seen.lan == "loopback":
        return Finding("internet", None, "The internet is not used, as you asked.")
    if seen.far_peers:
        return Finding("internet", True, f"Nodes reached outside this network: {seen.far_peers}.")
    if not seen.has_way_out:
        return Finding(
            "internet",
            None,
            "There is no way out of the local network. Rooms in it work all the same.",
        )
    return Finding(
        "internet", None, "There is a way out of this network; no node out there is connected yet."
    )


def _meeting(seen: Observed) -> Finding:
    near = seen.near_peers + seen.here_peers
    both = near + seen.far_peers
    if seen.lan == "loopback":
        if near:
            return Finding("meeting", True, f"Connected to {near} node(s) of this machine.")
        return Finding("meeting", None, "No other node runs on this machine.")
    if seen.far_peers or (near and not seen.has_way_out):
        table = f", {seen.in_table} of them in the table of rooms" if seen.in_table else ""
        return Finding("meeting", True, f"Connected to {both} node(s){table}.")
    begin = (
        "Open a link that somebody sends you, or name a node with a public address: "
        "p2phouse up --relay HOST:PORT."
    )
    if near:
        return Finding(
            "meeting",
            None,
            f"Connected to {near} node(s) nearby, and to none outside this network.",
            "" if seen.relays_named else begin,
        )
    if seen.relays_named and not seen.known_peers:
        return Finding(
            "meeting",
            False if seen.has_way_out else None,
            "The node that you named as a relay does not answer.",
            LOOK_AT_RELAY,
        )
    if seen.known_peers:
        return Finding(
            "meeting",
            False if seen.has_way_out else None,
            "None of the nodes known from before can be reached.",
            "Ask somebody for a link to their room, or see whether they are online.",
        )
    return Finding(
        "meeting",
        None,
        "The wider network has no beginning: no node outside this network is known yet.",
        begin,
    )


def _nat(seen: Observed) -> Iterator[Finding]:
    if seen.relay_only:
        yield Finding("nat", None, "Only your relays see your network address, as you asked.")
        return
    if seen.lan == "loopback":
        yield Finding("nat", None, "No router is asked for anything, as you asked.")
        return
    if seen.is_public:
        yield Finding("nat", True, "No router stands between this machine and the internet.")
        return
    answers = [each for each in seen.reflections if each is not None]
    if not seen.reflections:
        yield Finding("nat", None, "What your router does is unknown: no relay is there to ask.")
        return
    yield from _udp(bool(answers))
    if not answers:
        return
    if len({each.port for each in answers}) > 1:
        yield Finding(
            "nat",
            False,
            "Your router gives each conversation another port, so that few can reach you directly.",
            "Rooms work through a member that all can reach. A setting such as "
            "“full cone NAT” in the router, or another network, helps.",
        )
    elif any(each.port == seen.asked_port for each in answers) or len(answers) > 1:
        yield Finding("nat", True, "Your router is of the usual kind: sound goes directly to most.")
    else:
        yield Finding("nat", None, "Your router changes ports; one relay cannot tell how.")


def _udp(answered: bool) -> Iterator[Finding]:
    if answered:
        yield Finding("udp", True, "This network lets sound (UDP) out.")
    else:
        yield Finding(
            "udp",
            False,
            "This network blocks UDP, in which sound travels; nodes answer and sound does not.",
            "Use another network, such as a phone's hotspot, or a room that a relay with HTTPS "
            "carries.",
        )


def _reachable(seen: Observed) -> Finding:
    another = "Name a node with a public address: p2phouse up --relay HOST:PORT."
    if seen.lan == "loopback":
        return Finding("reachable", None, "Only this machine reaches this node, as you asked.")
    if seen.is_public and seen.was_reached:
        return Finding("reachable", True, "Anybody can reach this node.")
    if seen.is_public:
        return Finding(
            "reachable",
            None,
            "This machine has a public address; nobody from outside has come yet.",
            f"See that its firewall lets in TCP and UDP port {seen.port}.",
        )
    if seen.relays:
        return Finding("reachable", True, f"Others reach this node through {seen.relays} relay(s).")
    if seen.was_reached:
        return Finding("reachable", True, "Nodes outside the local network reach this one.")
    if seen.relays_found:
        return Finding(
            "reachable",
            False,
            "The node that you named as a relay is there and leads nobody to this one: it has no "
            "public address, no place left, or its owner does not want it to.",
            another,
        )
    if seen.relays_named:
        return Finding(
            "reachable",
            False,
            "The node that you named as a relay does not answer; nobody else is known to lead "
            "others to this one.",
            LOOK_AT_RELAY,
        )
    return Finding(
        "reachable",
        None,
        "From outside the local network nobody is known to reach this node.",
        another,
    )


def _relaying(seen: Observed) -> Finding:
    if not seen.carries:
        return Finding("relaying", None, "This node passes nothing on for others, as you chose.")
    if seen.relay_only or seen.lan == "loopback":
        return Finding("relaying", None, "This node passes nothing on: others do not see it.")
    if not seen.is_public:
        return Finding("relaying", None, "This node cannot help others to meet: it has no public "
                       "address.")  # fmt: skip
    return Finding(
        "relaying",
        True,
        f"This node helps {seen.places} other(s) to be reached; {seen.circuits} conversation(s) "
        "of nodes go through it, never sound.",
    )


def _clock(seen: Observed) -> Finding:
    if seen.clock_s is None:
        return Finding("clock", None, "There is nobody to compare the clock with.")
    if abs(seen.clock_s) <= SKEW_S_MAX:
        return Finding("clock", True, "The clock agrees with those of others.")
    minutes = round(abs(seen.clock_s) / 60)
    way = "slow" if seen.clock_s > 0 else "fast"
    return Finding(
        "clock",
        False,
        f"This machine's clock is about {minutes} minutes {way}, so that rooms of others look old "
        "or not yet made.",
        "Let the system set the time by itself.",
    )


def _port(seen: Observed) -> Iterator[Finding]:
    # Nobody types the address of a node that hides.
    if seen.any_port and seen.port != PORT_DEFAULT and not seen.relay_only:
        yield Finding(
            "port",
            None,
            f"The usual port {PORT_DEFAULT} was taken, so this node uses {seen.port}.",
            "Another node of yours may run. Who typed your address must type the new number.",
        )
