"""Nodes in networks that let no UDP out, and a relay for others: they talk through its HTTPS."""

import pytest

from p2phouse.hearing import STOI_HEARD_MIN
from tests.e2e.nat import Speaks, nft, run
from tests.e2e.nodes import heard, until
from tests.e2e.relays import RelayProcess
from tests.e2e.test_nat import circuits
from tests.guest.test_http import certificate

pytestmark = pytest.mark.nightly

NAME = "audio.example.org"
SETTINGS = """
name = "Radio Libre"
contact = "radio@example.org"
domain = "{name}"
addresses = {addresses}
[tls]
certificate = "{folder}/cert.pem"
key = "{folder}/key.pem"
[rooms.lobby]
speak = "nobody-has-this-token"
"""


@pytest.fixture
def relay(internet, tmp_path, monkeypatch):
    """One for others, as an operator sets it up; `datagrams` counts what comes to it by UDP."""
    machine = internet.public(Speaks.BOTH)
    addresses = [internet.public_ip(machine, version) for version in (4, 6)]
    certificate(tmp_path, name=NAME)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    home = tmp_path / "relay"
    home.mkdir(mode=0o700)
    told = SETTINGS.format(name=NAME, addresses=addresses, folder=tmp_path)
    (home / "relay.toml").write_text(told)
    (home / "relay.toml").chmod(0o600)
    (home / "policy.toml").write_text('admits = "everybody"\n')
    nft(
        machine,
        """
        table inet seen {
          counter datagrams { }
          chain in {
            type filter hook input priority filter;
            iifname "wan" meta l4proto udp counter name datagrams
          }
        }
        """,
    )
    its = RelayProcess(home, machine, addresses[0])
    its.start()
    yield its
    print(its.log[-4_000:])
    its.stop()


def udp_packets(relay) -> int:
    counted = run(
        "ip",
        "netns",
        "exec",
        relay.namespace,
        "nft",
        "list",
        "counter",
        "inet",
        "seen",
        "datagrams",
    )
    return int(counted.partition("packets ")[2].split()[0])


def carried(relay, make_node, internet, **homes):
    """Who opened a room that the relay carries, and who came to it by its link."""
    machines = {name: internet.laptop(home) for name, home in homes.items()}
    internet.name(NAME, relay.namespace)
    host, *others = (make_node(name, namespace=each) for name, each in machines.items())
    opened = host.asked("open", title="Tea", relay=f"https://{NAME}")
    assert opened["relay"]["carried"], opened["relay"]
    until(lambda: circuits(host), "a place at the relay")
    for node in others:
        node.asked("join", room=host.asked("status")["link"])
    for node in (host, *others):
        until(
            lambda node=node: way(node) is not None, f"{node.home.name} linked with the relay", 60
        )
    return (host, *others)


def way(node) -> bool | None:
    """Whether the node's link with the relay is a tunnel; None while there is none."""
    for each in node.others().values():
        if each.get("relay") and each["link"] == "connected":
            tunnelled: bool = each["tunnelled"]
            return tunnelled
    return None


def test_two_in_networks_without_udp_hear_each_other(internet, make_node, relay, clips, tmp_path):
    homes = {name: internet.home(udp=False) for name in ("ana", "ben")}
    ana, ben = carried(relay, make_node, internet, **homes)
    for node in (ana, ben):
        assert way(node) is True
        found = {each["what"]: each for each in node.asked("doctor")["findings"]}
        assert "HTTPS" in found["tunnel"]["text"]
    for speaker, listener, clip in ((ana, ben, clips[0]), (ben, ana, clips[1])):
        quality = heard(speaker, listener, clip, tmp_path / "heard.wav")
        print(f"{speaker.home.name} to {listener.home.name}: {quality}")
        assert quality.stoi >= STOI_HEARD_MIN
    assert udp_packets(relay) == 0


@pytest.mark.parametrize("speaks", [Speaks.FOUR, Speaks.SIX], ids=lambda each: each.name)
def test_one_without_udp_and_one_with_it_hear_each_other(
    internet, make_node, relay, clips, tmp_path, speaks
):
    homes = {"ana": internet.home(speaks=speaks), "ben": internet.home(udp=False, speaks=speaks)}
    ana, ben = carried(relay, make_node, internet, **homes)
    assert (way(ana), way(ben)) == (False, True)
    for speaker, listener, clip in ((ana, ben, clips[0]), (ben, ana, clips[1])):
        quality = heard(speaker, listener, clip, tmp_path / "heard.wav")
        print(f"{speaker.home.name} to {listener.home.name}: {quality}")
        assert quality.stoi >= STOI_HEARD_MIN


def test_on_a_line_that_loses_packets_a_tunnel_is_understood_and_the_room_stays_with_the_relay(
    internet, make_node, relay, clips, tmp_path
):
    homes = {"ana": internet.home(udp=False), "ben": internet.home(udp=False)}
    ana, ben = carried(relay, make_node, internet, **homes)
    for home in homes.values():
        internet.worsen(home, loss_pct=2)
    for speaker, listener, clip in ((ana, ben, clips[0]), (ben, ana, clips[1])):
        quality = heard(speaker, listener, clip, tmp_path / "heard.wav")
        print(f"{speaker.home.name} to {listener.home.name}: {quality}")
        assert quality.stoi >= STOI_HEARD_MIN
    for node in (ana, ben):
        assert node.asked("status")["hub"]["name"] == "relay Radio Libre"
