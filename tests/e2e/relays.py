"""A relay among real nodes: `p2phouse-relay up` as a process, and a room that it carries.

The nodes are those of hub.py, each in a namespace of its own; what listeners open, and when, they
write down (witness.py).
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Lan
from tests.e2e.hub import REACHED, SETTLES_S_MAX, HubRoom, babble
from tests.e2e.nodes import READY_S_MAX, until

NUMBER = 9  # of its host in the LAN
SECOND = 8  # of the other's, where there are two
PORT = 17_472
PEOPLE = ("speaker", "ana", "ben", "carla")
ROOT = Path(__file__).parents[2]


class RelayProcess:
    """One `p2phouse-relay up`, in a namespace."""

    def __init__(self, home: Path, namespace: str, address: str, *options: str):
        """address: of the namespace. Without options the home says how it is to be."""
        self.log_path = home.with_name(f"{home.name}.log")
        self.home = home
        self.address = address
        self.namespace = namespace
        self._options = options

    @classmethod
    def trial(cls, folder: Path, lan: Lan, number: int = NUMBER) -> "RelayProcess":
        """At that host of the LAN."""
        address = f"10.77.0.{number}"
        options = ("--dev", "--address", address, "--http-port", "0", "--udp-port", "0")
        return cls(folder / f"relay{number}", lan.host(number), address, *options)

    def start(self) -> None:
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-m", "p2phouse_relay"]
        command += ["up", "--json", "--tied", "--log", "info", "--port", str(PORT)]
        command += ["--home", str(self.home)]
        path = os.pathsep.join([str(ROOT), str(ROOT / "relay")])
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self._options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"PYTHONPATH": path},
            )
        watchdog = threading.Timer(READY_S_MAX, self.process.kill)
        watchdog.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        watchdog.cancel()
        assert line, f"the relay did not start; its log ends: {self.log[-2000:]}"
        self.facts: dict[str, Any] = json.loads(line)
        assert "error" not in self.facts, self.facts["error"]

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def pids(self) -> list[int]:
        """Of control and all that it has started."""
        told = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, told.split())]

    def kill(self) -> float:
        """kill -9 of all of it; when."""
        pids = self.pids
        at = time.time()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._close()
        return at

    def drain(self) -> float:
        at = time.time()
        self.process.send_signal(signal.SIGTERM)
        return at

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._close()

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


@dataclass
class RelayRoom(HubRoom):
    """People in a room that a relay carries; `carried` names it "relay Dev"."""

    relay: RelayProcess = None  # type: ignore[assignment]  # given by whoever makes the room

    def gather_by(self, access: str = "open") -> None:
        """Ana opens a room and gives it to the relay; the others come by her link."""
        host = self.nodes["ana"]
        opened = host.asked(
            "open", title="Carried", access=access, relay=f"10.77.0.{NUMBER}:{PORT}"
        )
        assert opened["relay"]["carried"], opened["relay"]
        self.room = opened["room"]
        link = opened["link"] if access != "closed" else host.asked("invite_link")["link"]
        for node in self.nodes.values():
            if node is not host:
                node.asked("join", room=link)
        self.all_by_relay()

    def all_by_relay(self) -> None:
        """Waits until everybody is carried by the relay."""

        def is_carried(name: str) -> bool:
            node = self.nodes[name]
            carried = self.carried(name)
            links = [each["link"] for each in node.others().values()]
            is_hub = carried is not None and carried.hub == "relay Dev"
            return is_hub and len(links) == len(self.up) and {*links} <= {*REACHED}

        for name in self.up:
            until(lambda name=name: is_carried(name), f"{name} by the relay", 2 * SETTLES_S_MAX)


@dataclass
class TwoRelays(RelayRoom):
    """One of two relays carries the room and the other stands by."""

    other: RelayProcess = None  # type: ignore[assignment]  # given by whoever makes the room

    def with_both(self) -> None:
        self.nodes["ana"].asked("relay_use", relay=f"{self.other.address}:{PORT}")
        self.both_carry()

    def both_carry(self) -> None:
        """Waits until everybody is carried by one relay and has the other as standby."""
        both = {each.facts["peer_id"] for each in (self.relay, self.other)}

        def are_both(name: str) -> bool:
            node = self.nodes[name]
            facts = node.asked("status")
            named = {(facts.get(role) or {}).get("peer_id") for role in ("hub", "standby")}
            return named == both and {each["link"] for each in node.others().values()} <= {*REACHED}

        for name in self.up:
            until(lambda name=name: are_both(name), f"two relays for {name}", 2 * SETTLES_S_MAX)

    @property
    def carrying(self) -> RelayProcess:
        hub = self.nodes["ana"].asked("status")["hub"]["peer_id"]
        return self.relay if self.relay.facts["peer_id"] == hub else self.other


@contextlib.contextmanager
def two_relays(lan: Lan, make_node, folder: Path) -> Iterator[TwoRelays]:
    with relay_room(lan, make_node, folder, kind=TwoRelays) as made:
        assert isinstance(made, TwoRelays)
        made.other = RelayProcess.trial(folder, lan, SECOND)
        made.other.start()
        try:
            made.with_both()
            yield made
        finally:
            made.other.stop()


@contextlib.contextmanager
def relay_room(
    lan: Lan,
    make_node,
    folder: Path,
    access: str = "open",
    people: tuple[str, ...] = PEOPLE,
    kind: type[RelayRoom] = RelayRoom,
) -> Iterator[RelayRoom]:
    relay = RelayProcess.trial(folder, lan)
    relay.start()
    try:
        nodes = {
            name: make_node(name, "--no-lan", namespace=lan.host(number), cheats=False)
            for number, name in enumerate(people, start=1)
        }
        made = kind(lan, nodes, babble(folder / "babble.wav"), relay=relay)
        made.gather_by(access)
        try:
            yield made
        finally:
            made.hush()
    finally:
        relay.stop()
