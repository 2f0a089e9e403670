"""`p2phouse-relay check`: what stands between this machine and those who want to come.

What is seen (`look`) and what follows from it (`judge`) are apart: the first touches the system,
the second is a function. Whether a port can be reached from outside only somebody outside can see,
so that is said, with what to ask them.
"""

import errno
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import ifaddr

from p2phouse.net.ports import PORT_DEFAULT
from p2phouse_relay.certificate import CERTIFICATE_DAYS_MIN, CertificateUnusable, facts_of
from p2phouse_relay.settings import HTTPS_PORT, Settings

VOICE_BPS: Final = 60_000  # 32 kb/s of Opus in packets of 20 ms, with all headers
LISTENER_VOICES: Final = 2  # of four slots, two are busy at a time at most for long
COMMAND_S_MAX: Final = 5.0


class Verdict(Enum):
    GOOD = "ok"
    WARNING = "look"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """said: one sentence. fix: the next thing to do or the line to type; empty if nothing."""

    about: str
    verdict: Verdict
    said: str
    fix: str = ""

    def lines(self) -> list[str]:
        """For a terminal."""
        said = f"{self.verdict.value:>4}  {self.about}: {self.said}"
        return [said, f"        {self.fix}"] if self.fix else [said]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the system told. None: it cannot be known here."""

    resolved: tuple[str, ...]
    own: tuple[str, ...]  # addresses of this machine's interfaces
    udp_errors: Mapping[int, str]  # by port, of those that cannot be used
    http_error: str
    is_running: bool  # a relay of this home runs, and has the ports
    certificate_error: str
    certificate_days: float | None
    certificate_names: tuple[str, ...]
    clock_synchronised: bool | None
    cores: int
    link_mbps: int | None
    firewall: str  # ufw, firewalld, nft or nothing


def judge(settings: Settings, seen: Seen) -> list[Finding]:
    return [
        _dns(settings, seen),
        _addresses(settings, seen),
        *(_port("UDP", port, seen.udp_errors.get(port, ""), seen) for port in settings.udp_ports),
        _port("TCP", settings.http_port, seen.http_error, seen),
        _certificate(settings, seen),
        _clock(seen),
        _cores(settings, seen),
        _uplink(settings, seen),
        _firewall(settings, seen),
    ]


def _dns(settings: Settings, seen: Seen) -> Finding:
    domain = settings.domain
    if not seen.resolved:
        fix = f"add an A record: {domain} → {settings.addresses[0]}"
        return Finding("name", Verdict.BAD, f"{domain} leads nowhere.", fix)
    if set(seen.resolved) & set(settings.addresses):
        return Finding("name", Verdict.GOOD, f"{domain} leads here.")
    said = f"{domain} leads to {', '.join(seen.resolved)}, which is none of `addresses`."
    return Finding("name", Verdict.BAD, said, "put right the record, or `addresses` in relay.toml")


def _addresses(settings: Settings, seen: Seen) -> Finding:
    away = [each for each in settings.addresses if each not in seen.own]
    if not away:
        return Finding("address", Verdict.GOOD, "This machine has the addresses it names.")
    said = f"This machine has no interface with {', '.join(away)}."
    ports = " ".join(map(str, settings.udp_ports))
    fix = f"right if a router in front passes UDP {ports} on to it; else `addresses`"
    return Finding("address", Verdict.WARNING, said, fix)


def _port(kind: str, port: int, error: str, seen: Seen) -> Finding:
    if seen.is_running:
        return Finding(f"{kind} port", Verdict.GOOD, f"{kind} {port} is this relay's.")
    if not error:
        return Finding(f"{kind} port", Verdict.GOOD, f"{kind} {port} is free.")
    fix = f"ss -lp{'u' if kind == 'UDP' else 't'}n 'sport = :{port}' names the program"
    if error == os.strerror(errno.EACCES):
        fix = "ports under 1024 take a right, which the systemd unit of docs/relay.md gives"
    return Finding(f"{kind} port", Verdict.BAD, f"{kind} {port} cannot be used: {error}.", fix)


def _certificate(settings: Settings, seen: Seen) -> Finding:
    if settings.tls is None:
        said = "TLS is the reverse proxy's."
        return Finding("certificate", Verdict.GOOD, said)
    if seen.certificate_error or seen.certificate_days is None:
        said = f"The certificate cannot be read: {seen.certificate_error}."
        fix = f"sudo certbot certonly --standalone -d {settings.domain}"
        return Finding("certificate", Verdict.BAD, said, fix)
    if not any(_names(each, settings.domain) for each in seen.certificate_names):
        said = f"The certificate is for {', '.join(seen.certificate_names)}."
        fix = f"sudo certbot certonly --standalone -d {settings.domain}"
        return Finding("certificate", Verdict.BAD, said, fix)
    days = seen.certificate_days
    if days < CERTIFICATE_DAYS_MIN:
        word = "has run out" if days <= 0 else f"runs out in {days:.0f} day(s)"
        verdict = Verdict.BAD if days <= 0 else Verdict.WARNING
        return Finding("certificate", verdict, f"The certificate {word}.", "sudo certbot renew")
    return Finding("certificate", Verdict.GOOD, f"The certificate is good for {days:.0f} days.")


def _names(pattern: str, domain: str) -> bool:
    """RFC 6125 §6.4.3: a star stands for one label, the first."""
    if pattern.startswith("*."):
        return domain.partition(".")[2] == pattern[2:]
    return pattern == domain


def _clock(seen: Seen) -> Finding:
    if seen.clock_synchronised:
        return Finding("clock", Verdict.GOOD, "The clock is kept right.")
    if seen.clock_synchronised is None:
        said = "Whether the clock is kept right cannot be seen here."
        return Finding("clock", Verdict.WARNING, said, "compare `date -u` with another machine's")
    said = "Nobody keeps the clock right; signed records are good for two minutes around it."
    return Finding("clock", Verdict.BAD, said, "sudo timedatectl set-ntp true")


def _cores(settings: Settings, seen: Seen) -> Finding:
    """One core is left for HTTP and the system, where there is more than one."""
    processes, most = settings.processes, max(1, seen.cores - 1)
    said = f"{processes} process(es) carry sound, on {seen.cores} core(s)."
    if processes > most:
        return Finding("cores", Verdict.WARNING, said, f"set media.processes to {most}")
    return Finding("cores", Verdict.GOOD, said)


def _uplink(settings: Settings, seen: Seen) -> Finding:
    needed = settings.terms.guests_max * LISTENER_VOICES * VOICE_BPS / 1e6
    said = f"{settings.terms.guests_max} listeners of two voices take {needed:.0f} Mb/s"
    if seen.link_mbps is None:
        fix = "see whether your provider gives so much, or lower limits.guests"
        return Finding("uplink", Verdict.WARNING, f"{said}; what the link has is not told.", fix)
    if needed > 0.8 * seen.link_mbps:
        most = int(0.8 * seen.link_mbps * 1e6 / (LISTENER_VOICES * VOICE_BPS))
        fix = f"set limits.guests to {most} at most"
        return Finding("uplink", Verdict.BAD, f"{said}, the link has {seen.link_mbps}.", fix)
    return Finding("uplink", Verdict.GOOD, f"{said}, the link has {seen.link_mbps}.")


def _firewall(settings: Settings, seen: Seen) -> Finding:
    """What guests and nodes have to reach; behind a proxy its port instead of ours."""
    udp = settings.udp_port
    ask = f"from outside: nc -u {settings.addresses[0]} {udp} should not be told “refused”"
    tcp = settings.http_port if settings.tls is not None else HTTPS_PORT
    ports = [*((port, "udp") for port in settings.udp_ports), (tcp, "tcp")]
    ports += [(PORT_DEFAULT, "udp"), (PORT_DEFAULT, "tcp")]
    lines = {
        "ufw": " && ".join(f"sudo ufw allow {port}/{kind}" for port, kind in ports),
        "firewalld": "sudo firewall-cmd --permanent "
        + " ".join(f"--add-port={port}/{kind}" for port, kind in ports)
        + " && sudo firewall-cmd --reload",
        "nft": " && ".join(
            f"sudo nft add rule inet filter input {kind} dport {port} accept"
            for port, kind in ports
        ),
    }
    if seen.firewall not in lines:
        said = "No firewall of this machine is known here; your provider may have one."
        return Finding("firewall", Verdict.WARNING, said, ask)
    said = f"{seen.firewall} decides what may come in."
    return Finding("firewall", Verdict.WARNING, said, lines[seen.firewall])


# ── looking ──────────────────────────────────────────────────────────────────────────────────


def look(settings: Settings, *, is_running: bool) -> Seen:
    """Takes a few seconds: names are asked for, programs run."""
    error, days, names = _certificate_of(settings)
    return Seen(
        resolved=_resolved(settings.domain),
        own=_own_addresses(),
        udp_errors={
            port: taken
            for port in settings.udp_ports
            if (taken := _bind_error(settings.bind, port, socket.SOCK_DGRAM))
        },
        http_error=_bind_error(
            settings.bind if settings.tls else "127.0.0.1", settings.http_port, socket.SOCK_STREAM
        ),
        is_running=is_running,
        certificate_error=error,
        certificate_days=days,
        certificate_names=names,
        clock_synchronised=_clock_synchronised(),
        cores=os.cpu_count() or 1,
        link_mbps=_link_mbps(),
        firewall=_firewall_kind(),
    )


def _resolved(domain: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(domain, None, type=socket.SOCK_DGRAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


def _own_addresses() -> tuple[str, ...]:
    found = (ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips)
    return tuple(each if isinstance(each, str) else each[0] for each in found)


def _bind_error(address: str, port: int, kind: socket.SocketKind) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as trial:
        if kind == socket.SOCK_STREAM:  # as the relay: a port that it had a moment ago is free
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except OSError as error:
            return error.strerror or "it is not said why"
    return ""


def _certificate_of(settings: Settings) -> tuple[str, float | None, tuple[str, ...]]:
    """What is wrong with it, for how many days it is good, and for which names."""
    if settings.tls is None:
        return "", None, ()
    try:
        found = facts_of(settings.tls)
    except CertificateUnusable as error:
        return str(error.facts["reason"]), None, ()
    return "", found.days(time.time()), found.names


def _clock_synchronised() -> bool | None:
    told = _said("timedatectl", "show", "--property=NTPSynchronized", "--value")
    return {"yes": True, "no": False}.get(told.strip())


def _link_mbps() -> int | None:
    """Of the interface that the default route goes through."""
    try:
        routes = Path("/proc/net/route").read_text().splitlines()[1:]
        name = next(each.split()[0] for each in routes if each.split()[1] == "00000000")
        speed = int(Path(f"/sys/class/net/{name}/speed").read_text())
    except (OSError, StopIteration, ValueError):
        return None
    return speed if speed > 0 else None


def _firewall_kind() -> str:
    if "active" in _said("ufw", "status").split():
        return "ufw"
    if _said("firewall-cmd", "--state").strip() == "running":
        return "firewalld"
    return "nft" if "hook input" in _said("nft", "list", "ruleset") else ""


def _said(*command: str) -> str:
    """What a program of the system prints; nothing if it is not there or will not."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
