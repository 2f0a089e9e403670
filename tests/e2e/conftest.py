"""A bridge with a network namespace for each node: a LAN that nobody else is on."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.nat import Internet
from tests.e2e.nodes import making_nodes, write_clip
from tests.voice.speech import librivox


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in Path(item.fspath).parents:
            item.add_marker(pytest.mark.e2e)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Lan:
    """One bridge; `host(n)` is a namespace with the address 10.77.0.n and nothing else."""

    def __init__(self, name: str):
        self.name = name
        self.namespaces: list[str] = []
        # The bridge has a namespace of its own: this machine's own network never sees it.
        self._switch = f"{name}-switch"
        ip("netns", "add", self._switch)
        for bridge in ("bridge", "apart"):
            ip("-n", self._switch, "link", "add", bridge, "type", "bridge")
            ip("-n", self._switch, "link", "set", bridge, "up")

    def host(self, number: int) -> str:
        namespace = f"{self.name}-{number}"
        ip("netns", "add", namespace)
        self.namespaces.append(namespace)
        ip("-n", namespace, "link", "set", "lo", "up")
        port = f"port{number}"
        ip(
            "-n",
            namespace,
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            port,
            "netns",
            self._switch,
        )
        ip("-n", self._switch, "link", "set", port, "master", "bridge", "up")
        ip("-n", namespace, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")
        ip("-n", namespace, "route", "add", "default", "dev", "eth0")
        return namespace

    def unplug(self, number: int) -> None:
        ip("-n", self._switch, "link", "set", f"port{number}", "down")

    def plug(self, number: int) -> None:
        ip("-n", self._switch, "link", "set", f"port{number}", "up")

    def part(self, *numbers: int) -> None:
        """These hosts hear only one another, and the rest only the rest."""
        for number in numbers:
            ip("-n", self._switch, "link", "set", f"port{number}", "master", "apart")

    def heal(self, *numbers: int) -> None:
        for number in numbers:
            ip("-n", self._switch, "link", "set", f"port{number}", "master", "bridge")

    def deafen(self, number: int, *, to: int, ports: str) -> None:
        """What the other host sends to these UDP ports does not come."""
        rules = f"""
            table ip deaf{to} {{
                chain input {{
                    type filter hook input priority 0;
                    ip saddr 10.77.0.{to} udp dport {ports} drop
                }}
            }}"""
        namespace = f"{self.name}-{number}"
        subprocess.run(
            ["ip", "netns", "exec", namespace, "nft", "-f", "-"],
            input=rules,
            text=True,
            check=True,
            capture_output=True,
        )

    def remove(self) -> None:
        for namespace in [*self.namespaces, self._switch]:
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


@pytest.fixture
def lan():
    made = Lan(f"p2ph{os.getpid()}")
    yield made
    made.remove()


@pytest.fixture
def internet():
    made = Internet(f"p2n{os.getpid()}")
    yield made
    made.remove()


@pytest.fixture
def make_node(tmp_path):
    """Starts nodes: make_node("ana", namespace=lan.host(1)). All are ended after the test."""
    with making_nodes(tmp_path) as make:
        yield make


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Human speech, a file for each speaker."""
    folder = tmp_path_factory.mktemp("clips")
    numbers = ("0930", "0880", "0890")
    return [write_clip(folder / f"{n}.wav", librivox(n)[: 48_000 * 6]) for n in numbers]
