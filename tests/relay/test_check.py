"""What `check` makes of what it saw: what is well, what is wrong, and the next line to type."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from p2phouse.guest.terms import RoomTerms, Terms
from p2phouse_relay.check import Finding, Seen, Verdict, judge, look
from p2phouse_relay.settings import Settings, Tls
from tests.guest.test_http import certificate

SETTINGS = Settings(
    name="Radio Libre",
    domain="audio.example.org",
    addresses=("203.0.113.5",),
    bind="127.0.0.1",
    contact="abuse@example.org",
    http_port=443,
    udp_port=8478,
    admin_port=8479,
    tls=Tls(Path("/nowhere/cert.pem"), Path("/nowhere/key.pem")),
    terms=Terms({"tea": RoomTerms(speak="x" * 16)}, rooms_max=5, guests_max=500, waiting_max=8),
)
WELL = Seen(
    resolved=("203.0.113.5",),
    own=("127.0.0.1", "203.0.113.5"),
    udp_errors={},
    http_error="",
    is_running=False,
    certificate_error="",
    certificate_days=60.0,
    certificate_names=("audio.example.org",),
    clock_synchronised=True,
    cores=4,
    link_mbps=1_000,
    firewall="ufw",
)


def found(about: str, settings: Settings = SETTINGS, **seen) -> Finding:
    (its,) = [each for each in judge(settings, replace(WELL, **seen)) if each.about == about]
    return its


def test_where_all_is_well_only_what_nobody_inside_can_see_is_left_to_look_at():
    left = [each for each in judge(SETTINGS, WELL) if each.verdict is not Verdict.GOOD]
    assert [each.about for each in left] == ["firewall"]


@pytest.mark.parametrize(
    ("about", "seen", "verdict", "word"),
    [
        ("name", {"resolved": ()}, Verdict.BAD, "A record: audio.example.org → 203.0.113.5"),
        ("name", {"resolved": ("192.0.2.1",)}, Verdict.BAD, "192.0.2.1"),
        ("address", {"own": ("10.0.0.4",)}, Verdict.WARNING, "router"),
        ("UDP port", {"udp_errors": {8478: "Address already in use"}}, Verdict.BAD, "ss -lpun"),
        (
            "UDP port",
            {"udp_errors": {8478: "used"}, "is_running": True},
            Verdict.GOOD,
            "this relay's",
        ),
        ("TCP port", {"http_error": "Permission denied"}, Verdict.BAD, "systemd"),
        ("certificate", {"certificate_days": 10.0}, Verdict.WARNING, "certbot renew"),
        ("certificate", {"certificate_days": -1.0}, Verdict.BAD, "has run out"),
        ("certificate", {"certificate_error": "No such file"}, Verdict.BAD, "No such file"),
        ("certificate", {"certificate_names": ("example.org",)}, Verdict.BAD, "example.org"),
        ("certificate", {"certificate_names": ("*.example.org",)}, Verdict.GOOD, "60 days"),
        ("certificate", {"certificate_names": ("*.org",)}, Verdict.BAD, "certbot"),
        ("clock", {"clock_synchronised": False}, Verdict.BAD, "set-ntp"),
        ("clock", {"clock_synchronised": None}, Verdict.WARNING, "date -u"),
        ("uplink", {"link_mbps": 20}, Verdict.BAD, "limits.guests to 133"),
        ("uplink", {"link_mbps": None}, Verdict.WARNING, "60 Mb/s"),
        ("firewall", {}, Verdict.WARNING, "sudo ufw allow 8478/udp && sudo ufw allow 443/tcp"),
        ("firewall", {"firewall": "firewalld"}, Verdict.WARNING, "--add-port=8478/udp"),
        ("firewall", {"firewall": "nft"}, Verdict.WARNING, "udp dport 8478 accept"),
        ("firewall", {}, Verdict.WARNING, "sudo ufw allow 17472/udp && sudo ufw allow 17472/tcp"),
        ("firewall", {"firewall": "firewalld"}, Verdict.WARNING, "--add-port=17472/tcp"),
        ("firewall", {"firewall": "nft"}, Verdict.WARNING, "tcp dport 17472 accept"),
        ("firewall", {"firewall": ""}, Verdict.WARNING, "from outside"),
    ],
)
def test_what_is_not_well_is_said_with_what_to_do(about, seen, verdict, word):
    its = found(about, **seen)
    assert its.verdict is verdict
    assert word in f"{its.said} {its.fix}"
    assert its.fix or verdict is Verdict.GOOD


def test_each_process_with_sound_has_a_port_that_has_to_be_free_and_let_in():
    several = replace(SETTINGS, processes=3)
    seen = replace(WELL, udp_errors={8480: "Address already in use"})
    ports = [each for each in judge(several, seen) if each.about == "UDP port"]
    assert [each.verdict for each in ports] == [Verdict.GOOD, Verdict.GOOD, Verdict.BAD]
    assert "8480" in ports[2].said
    fix = found("firewall", several).fix
    assert all(f"ufw allow {port}/udp" in fix for port in (8478, 8479, 8480))


@pytest.mark.parametrize(
    ("processes", "cores", "well"), [(1, 1, True), (3, 4, True), (4, 4, False)]
)
def test_a_core_is_left_for_what_is_not_sound(processes: int, cores: int, well: bool):
    its = found("cores", replace(SETTINGS, processes=processes), cores=cores)
    assert (its.verdict is Verdict.GOOD) is well
    assert well or f"media.processes to {cores - 1}" in its.fix


def test_behind_a_proxy_the_firewall_has_to_let_in_what_the_proxy_listens_on():
    fix = found("firewall", replace(SETTINGS, tls=None, http_port=8_478)).fix
    assert "443/tcp" in fix
    assert "8478/tcp" not in fix


def test_behind_a_proxy_the_certificate_is_the_proxy_s():
    assert found("certificate", replace(SETTINGS, tls=None)).verdict is Verdict.GOOD


def test_this_machine_is_looked_at(tmp_path):
    certificate(tmp_path)
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    settings = replace(SETTINGS, domain="localhost.localdomain", tls=tls, http_port=0, udp_port=0)
    seen = look(settings, is_running=False)
    assert "127.0.0.1" in seen.own
    assert (seen.udp_errors, seen.http_error) == ({}, "")
    assert seen.certificate_names == ("localhost",)
    assert seen.certificate_days is not None
    assert 9 < seen.certificate_days < 10


def test_a_port_that_is_taken_is_no_fault_of_the_certificate(tmp_path):
    certificate(tmp_path)
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        settings = replace(SETTINGS, tls=tls, udp_port=other.getsockname()[1])
        seen = look(settings, is_running=False)
    assert list(seen.udp_errors.values()) == ["Address already in use"]
    assert seen.certificate_error == ""
