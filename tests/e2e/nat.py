"""A small internet in network namespaces: public machines, and homes behind routers of all kinds.

Everything is routed by one namespace, so that nobody is on anybody's network but at home. Public
machines have public addresses (5.9.n.2), homes all have the same private ones (192.168.1.0/24), as
homes do. nftables does what home routers do. By IPv6 everybody has an address of the whole internet
(2a05:9:n::2, 2a05:8:n::10), and a home's router lets in what answers.
"""

import shutil
import subprocess
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

GATEWAY = "192.168.1.1"
FIRST_HOST = 10
NAMES = Path("/etc/netns")  # what stands there for a namespace it has in place of /etc


class Speaks(Enum):
    """Which versions of IP somebody has."""

    FOUR = (4,)
    SIX = (6,)
    BOTH = (4, 6)


class Router(Enum):
    """What stands between a home and the internet."""

    PORT_PRESERVING = "masquerade"
    """The usual one: a socket keeps its port outside, whomever it talks to."""

    SYMMETRIC = "masquerade random,fully-random"
    """A port of its own for each destination: nobody can foresee it."""


def run(*command: str, given: str | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def nft(namespace: str, rules: str) -> None:
    run("ip", "netns", "exec", namespace, "nft", "-f", "-", given=rules)


@dataclass(slots=True)
class Home:
    """A network behind a router; `internet.laptop(home)` makes machines in it."""

    number: int
    router: str
    laptops: dict[str, int] = field(default_factory=dict)
    isolates: bool = False
    speaks: Speaks = Speaks.FOUR

    @property
    def public_ip(self) -> str:
        return f"5.8.{self.number}.2"


class Internet:
    """Machines are named by their namespaces. `remove` ends it all."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._namespaces: list[str] = []
        self._wires = 0
        self._homes = 0
        self._publics = 0
        self._world = self._namespace("world", routes=True)

    # ── building ─────────────────────────────────────────────────────────────────────────────

    def public(self, speaks: Speaks = Speaks.FOUR) -> str:
        """A machine that everybody can reach."""
        self._publics += 1
        machine = self._namespace(f"pub{self._publics}")
        self._uplink(machine, 9, self._publics, speaks)
        return machine

    def public_ip(self, machine: str, version: int = 4) -> str:
        number = machine.rpartition("pub")[2]
        return f"5.9.{number}.2" if version == 4 else f"2a05:9:{number}::2"

    def home(
        self,
        kind: Router = Router.PORT_PRESERVING,
        *,
        udp: bool = True,
        speaks: Speaks = Speaks.FOUR,
    ) -> Home:
        """udp: whether the router lets UDP out at all."""
        self._homes += 1
        router = self._namespace(f"nat{self._homes}", routes=True)
        home = Home(self._homes, router, speaks=speaks)
        self._uplink(home.router, 8, home.number, speaks)
        run("ip", "-n", home.router, "link", "add", "lan", "type", "bridge")
        run("ip", "-n", home.router, "link", "set", "lan", "up")
        if 4 in speaks.value:
            run("ip", "-n", home.router, "addr", "add", f"{GATEWAY}/24", "dev", "lan")
        if 6 in speaks.value:
            self._address6(home.router, f"2a05:8:{home.number}::1", "lan")
        nft(
            home.router,
            f"""
            table ip nat {{
              chain out {{
                type nat hook postrouting priority srcnat;
                oifname "wan" {kind.value}
              }}
            }}
            table inet home {{
              chain pass {{
                type filter hook forward priority filter; policy drop;
                {"" if udp else "meta l4proto udp drop"}
                iifname "lan" accept
                ct state established,related accept
              }}
              chain in {{
                type filter hook input priority filter; policy accept;
                icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
                iifname "wan" ct state new drop
              }}
            }}
            """,
        )
        return home

    def laptop(self, home: Home) -> str:
        machine = self._namespace(f"lap{len(self._namespaces)}")
        self.plug(machine, home)
        return machine

    def plug(self, machine: str, home: Home) -> None:
        """Plugs a machine into a home; it takes the next free address there."""
        port = self._wire(machine, "eth0", home.router)
        run("ip", "-n", home.router, "link", "set", port, "master", "lan", "up")
        if home.isolates:
            self._isolate(home, port)
        number = home.laptops.setdefault(machine, FIRST_HOST + len(home.laptops))
        run("ip", "-n", machine, "link", "set", "eth0", "up")
        if 4 in home.speaks.value:
            run("ip", "-n", machine, "addr", "add", f"192.168.1.{number}/24", "dev", "eth0")
            run("ip", "-n", machine, "route", "add", "default", "via", GATEWAY)
        if 6 in home.speaks.value:
            net = f"2a05:8:{home.number}:"
            self._address6(machine, f"{net}:{number}", "eth0")
            run("ip", "-n", machine, "route", "add", "default", "via", f"{net}:1")

    # ── what happens to people ───────────────────────────────────────────────────────────────

    def move(self, machine: str, home: Home) -> None:
        """Out of one network and into another, as a laptop that is carried home."""
        run("ip", "-n", machine, "link", "del", "eth0")
        self.plug(machine, home)

    def isolate(self, home: Home) -> None:
        """Wi-Fi client isolation: machines reach the router and not one another, from now on."""
        home.isolates = True
        for port in self._ports(home):
            self._isolate(home, port)

    def _isolate(self, home: Home, port: str) -> None:
        isolated = ("type", "bridge_slave", "isolated", "on")
        run("ip", "-n", home.router, "link", "set", port, *isolated)

    def mute_multicast(self, home: Home) -> None:
        """As many access points do; only what the router itself says still comes."""
        nft(
            home.router,
            """
            table bridge lan {
              chain pass {
                type filter hook forward priority filter;
                ip daddr 224.0.0.0/4 drop
              }
            }
            """,
        )

    def worsen(self, home: Home, *, loss_pct: int) -> None:
        """So much of what goes through its router is lost from now on, each way."""
        nft(
            home.router,
            f"""
            table inet bad {{
              chain pass {{
                type filter hook forward priority filter;
                numgen random mod 100 < {loss_pct} drop
              }}
            }}
            """,
        )

    def unplug_uplink(self, home: Home) -> None:
        run("ip", "-n", home.router, "link", "set", "wan", "down")

    def plug_uplink(self, home: Home) -> None:
        run("ip", "-n", home.router, "link", "set", "wan", "up")
        run("ip", "-n", home.router, "route", "replace", "default", "via", f"5.8.{home.number}.1")

    def name(self, host: str, machine: str) -> None:
        """All machines that there are know that public machine by this name from now on."""
        for namespace in self._namespaces:
            folder = NAMES / namespace
            folder.mkdir(parents=True, exist_ok=True)
            known = [f"{self.public_ip(machine, version)} {host}\n" for version in (4, 6)]
            (folder / "hosts").write_text("".join(["127.0.0.1 localhost\n", *known]))

    def remove(self) -> None:
        for namespace in self._namespaces:
            shutil.rmtree(NAMES / namespace, ignore_errors=True)
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)

    # ── wires ────────────────────────────────────────────────────────────────────────────────

    def _namespace(self, label: str, *, routes: bool = False) -> str:
        namespace = f"{self._name}-{label}"
        run("ip", "netns", "add", namespace)
        self._namespaces.append(namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        if routes:
            ways = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
            run("ip", "netns", "exec", namespace, "sysctl", "-qw", *ways)
        return namespace

    def _wire(self, machine: str, device: str, other: str) -> str:
        self._wires += 1
        port = f"port{self._wires}"
        run(
            "ip", "-n", machine, "link", "add", device, "type", "veth", "peer", port, "netns", other
        )
        return port

    def _uplink(self, machine: str, kind: int, number: int, speaks: Speaks) -> None:
        port = self._wire(machine, "wan", self._world)
        run("ip", "-n", self._world, "link", "set", port, "up")
        run("ip", "-n", machine, "link", "set", "wan", "up")
        if 4 in speaks.value:
            net = f"5.{kind}.{number}"
            run("ip", "-n", self._world, "addr", "add", f"{net}.1/24", "dev", port)
            run("ip", "-n", machine, "addr", "add", f"{net}.2/24", "dev", "wan")
            run("ip", "-n", machine, "route", "add", "default", "via", f"{net}.1")
        if 6 in speaks.value:
            # A router's uplink has a network of its own beside the one that it serves at home.
            net = f"2a05:{kind}:{number}:{'a:' if kind == 8 else ''}"
            self._address6(self._world, f"{net}:1", port)
            self._address6(machine, f"{net}:2", "wan")
            run("ip", "-n", machine, "route", "add", "default", "via", f"{net}:1")
            if kind == 8:
                home = f"2a05:8:{number}::/64"
                run("ip", "-n", self._world, "route", "add", home, "via", f"{net}:2")

    def _address6(self, machine: str, ip: str, device: str) -> None:
        # Without the second in which the system asks whether somebody else has it.
        run("ip", "-n", machine, "addr", "add", f"{ip}/64", "dev", device, "nodad")

    def _ports(self, home: Home) -> list[str]:
        shown = run("ip", "-n", home.router, "-o", "link", "show", "master", "lan")
        return [line.split(": ")[1].partition("@")[0] for line in shown.splitlines()]
