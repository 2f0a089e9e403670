"""What the operator of a relay decides: `relay.toml` in its home, read strictly.

A word that is not understood is an error with its place, never ignored: a limit that was spelt
wrongly would be no limit. `init` writes the file with what each line is for.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import platformdirs

from p2phouse.errors import UserError
from p2phouse.guest.terms import ROOM_NAME, RoomTerms, Terms

FILE_NAME: Final = "relay.toml"
REHEARSAL_NAME: Final = "rehearsal.json"
FILE_BYTES_MAX: Final = 256 * 1024
HTTPS_PORT: Final = 443
UDP_PORT: Final = 8478
PROXIED_PORT: Final = 8478
ADMIN_PORT: Final = 8479
PROCESSES_MAX: Final = 32
TOKEN_CHARS_MIN: Final = 16
# Of each process, if nobody tried how many: a core carries about a thousand listeners.
GUESTS_MAX: Final = 900
WAITING_MAX: Final = 8  # of one network, without a token, that have not come yet
_DOMAIN: Final = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]+")

_ORIGIN: Final = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?")


class NoSettings(UserError):
    """There is no {path} yet. Make one with p2phouse-relay init, or try a relay on this machine
    with p2phouse-relay up --dev."""


class SettingsThere(UserError):
    """{path} is there already and was left as it is. Edit it, or choose another --home."""


class SettingsWrong(UserError):
    """{path}: {what}."""


@dataclass(frozen=True, slots=True)
class Tls:
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """tls: None behind a reverse proxy of this machine, which then speaks for all who come."""

    name: str
    domain: str
    addresses: tuple[str, ...]
    bind: str
    contact: str
    http_port: int
    udp_port: int
    admin_port: int
    tls: Tls | None
    terms: Terms
    processes: int = 1

    @property
    def udp_ports(self) -> range:
        """One for each process that carries sound."""
        return range(self.udp_port, self.udp_port + self.processes)

    @property
    def page(self) -> str:
        """Where guests find this relay; a proxy's port is the usual one."""
        is_usual = self.tls is None or self.http_port == HTTPS_PORT
        return f"https://{self.domain}" + ("" if is_usual else f":{self.http_port}")


def relay_home(given: str | None) -> Path:
    """The relay's home: given, else P2PHOUSE_RELAY_HOME, else the system's place for user data."""
    text = given or os.environ.get("P2PHOUSE_RELAY_HOME")
    text = text or platformdirs.user_data_dir("p2phouse-relay")
    return Path(text).expanduser().absolute()


def read_settings(home: Path) -> Settings:
    """Raises NoSettings, SettingsWrong."""
    path = home / FILE_NAME
    try:
        data = path.read_bytes()[: FILE_BYTES_MAX + 1]
    except FileNotFoundError as error:
        raise NoSettings(path=path) from error
    except OSError as error:
        raise SettingsWrong(path=path, what=f"it cannot be read ({error.strerror})") from error
    # Security: the tokens of rooms stand in it.
    if path.stat().st_mode & 0o077:
        raise SettingsWrong(path=path, what=f"others may read it; run: chmod 600 {path}")
    if len(data) > FILE_BYTES_MAX:
        raise SettingsWrong(path=path, what=f"it has more than {FILE_BYTES_MAX:,} bytes")
    return understood(path, data.decode(errors="replace"), rehearsed(home))


def rehearsed(home: Path) -> int | None:
    """How many listeners this machine was found to carry; None if nobody tried (rehearse.py)."""
    try:
        found = json.loads((home / REHEARSAL_NAME).read_bytes())["listeners"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if type(found) is int and found > 0 else None


def understood(path: Path, text: str, guests_max: int | None = None) -> Settings:
    """Settings from the text of a file. path: for what is said of it. guests_max: if the file does
    not say how many. Raises SettingsWrong."""
    try:
        return _settings(_Table("", tomllib.loads(text)), guests_max)
    except tomllib.TOMLDecodeError as error:
        raise SettingsWrong(path=path, what=f"it is no TOML ({error})") from error
    except _Wrong as error:
        raise SettingsWrong(path=path, what=str(error)) from error


def _settings(top: "_Table", guests_max: int | None) -> Settings:
    tls, proxied = _tls(top.table("tls"))
    processes = _processes(top.table("media"))
    found = Settings(
        name=top.text("name", most=60),
        domain=top.text("domain", like=_DOMAIN, means="a name such as audio.example.org"),
        addresses=_addresses(top),
        bind=_address("bind", top.text("bind", "0.0.0.0")),
        contact=top.text("contact", most=200),
        http_port=top.number("http_port", PROXIED_PORT if proxied else HTTPS_PORT, most=65_535),
        udp_port=top.number("udp_port", UDP_PORT, most=65_536 - processes),
        admin_port=top.number("admin_port", ADMIN_PORT, most=65_535),
        tls=tls,
        terms=_terms(top, guests_max or processes * GUESTS_MAX),
        processes=processes,
    )
    top.has_no_more()
    return found


class _Wrong(Exception):
    """What is wrong with the settings, as the end of a sentence."""


class _Table:
    """A table of the file, from which each known word is taken once."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self._name = name
        self._left = dict(values)

    def text(
        self,
        word: str,
        otherwise: str | None = None,
        *,
        most: int = 500,
        like: re.Pattern[str] | None = None,
        means: str = "",
    ) -> str:
        value = self._left.pop(word, otherwise)
        if value is None:
            raise _Wrong(f"{self._place(word)} is missing")
        if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
            raise _Wrong(f"{self._place(word)} has to be text of 1 to {most} characters")
        if like is not None and not like.fullmatch(value):
            raise _Wrong(f"{self._place(word)} has to be {means}")
        return value

    def number(self, word: str, otherwise: int, *, least: int = 1, most: int) -> int:
        value = self._left.pop(word, otherwise)
        if type(value) is not int or not least <= value <= most:
            raise _Wrong(f"{self._place(word)} has to be a number from {least} to {most:,}")
        return value

    def is_on(self, word: str) -> bool:
        value = self._left.pop(word, False)
        if not isinstance(value, bool):
            raise _Wrong(f"{self._place(word)} has to be true or false")
        return value

    def texts(self, word: str, *, most: int) -> tuple[str, ...]:
        value = self._left.pop(word, [])
        if not isinstance(value, list) or len(value) > most:
            raise _Wrong(f"{self._place(word)} has to be a list of at most {most}")
        if not all(isinstance(each, str) and 0 < len(each) <= 500 for each in value):
            raise _Wrong(f"{self._place(word)} has to be a list of texts")
        return tuple(value)

    def table(self, word: str) -> "_Table":
        value = self._left.pop(word, {})
        if not isinstance(value, dict):
            raise _Wrong(f"{self._place(word)} has to be a table, [{word}]")
        return _Table(self._place(word), value)

    def names(self) -> list[str]:
        return list(self._left)

    def has_no_more(self) -> None:
        for word in self._left:
            raise _Wrong(f"{self._place(word)} is no setting")

    def _place(self, word: str) -> str:
        return f"{self._name}.{word}" if self._name else word


def _tls(table: _Table) -> tuple[Tls | None, bool]:
    proxied = table.is_on("proxy")
    tls = None
    if not proxied:
        certificate, key = (Path(table.text(each)) for each in ("certificate", "key"))
        tls = Tls(certificate, key)
    table.has_no_more()
    return tls, proxied


def _processes(table: _Table) -> int:
    found = table.number("processes", 1, most=PROCESSES_MAX)
    table.has_no_more()
    return found


def _addresses(top: _Table) -> tuple[str, ...]:
    found = top.texts("addresses", most=4)
    if not found:
        raise _Wrong("addresses has to name one to four addresses at which guests reach this relay")
    return tuple(_address("addresses", each) for each in found)


def _address(word: str, text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise _Wrong(f"{word}: {text} is no IP address") from error


def _terms(top: _Table, guests_max: int) -> Terms:
    limits, rooms = top.table("limits"), top.table("rooms")
    named = {}
    for name in rooms.names():
        if not ROOM_NAME.fullmatch(name):
            raise _Wrong(f"rooms.{name}: a room's name has 1 to 64 letters, digits, - and _")
        its = rooms.table(name)
        speak, listen = (its.text(each, "-") for each in ("speak", "listen"))
        also_at = its.texts("also_at", most=4)
        its.has_no_more()
        if not all(_ORIGIN.fullmatch(each) for each in also_at):
            raise _Wrong(f"rooms.{name}.also_at names relays as https://audio.example.net")
        for token in (speak, listen):
            if token != "-" and len(token) < TOKEN_CHARS_MIN:
                raise _Wrong(f"rooms.{name}: a token has at least {TOKEN_CHARS_MIN} characters")
        if speak == "-":
            raise _Wrong(f"rooms.{name}.speak is missing: whoever finds the room could talk in it")
        named[name] = RoomTerms(
            speak=speak, listen=None if listen == "-" else listen, also_at=also_at
        )
    found = Terms(
        rooms=named,
        rooms_max=limits.number("rooms", 20, most=1_000),
        guests_max=limits.number("guests", guests_max, most=20_000),
        waiting_max=WAITING_MAX,
        ice_servers=top.texts("ice_servers", most=4),
    )
    limits.has_no_more()
    return found


TEMPLATE: Final = """\
# What this relay is, and whom it carries. `p2phouse-relay check` reads this and says what is wrong.
# Keep it readable by yourself alone: the tokens of rooms stand in it.

# How people see it, and whom they can write to about it.
name = {name}
contact = {contact}

# Where browsers find it (HTTPS), and where voices do: the addresses at which this machine can be
# reached from outside, the best first. `bind` is where its sockets are, if that is not everywhere.
domain = {domain}
addresses = {addresses}
# bind = "0.0.0.0"   # everywhere, and by IPv6 too if an address above is one

# Ports. Everything that is sound goes through the UDP port; open it in your firewall.
# http_port = 443
udp_port = {udp_port}
# admin_port = 8479   # status, health and metrics, on this machine alone

[tls]
# Files as certbot and others keep them; a new certificate is noticed within ten seconds.
certificate = "/etc/letsencrypt/live/{plain_domain}/fullchain.pem"
key = "/etc/letsencrypt/live/{plain_domain}/privkey.pem"
# Or a reverse proxy of yours on this machine speaks TLS, and names who asked in X-Forwarded-For.
# Then instead of the two lines above (http_port is then 8478, on 127.0.0.1 alone):
# proxy = true

[media]
# Processes that carry sound, for a machine with more cores than one: one less than it has cores.
# Each has a UDP port: the one above and those that follow.
# processes = 1

[limits]
# If this does not say it, what `p2phouse-relay rehearse` found that this machine carries; 900 for
# each process with sound if that was not tried.
# guests = 900
rooms = 20

# The rooms, each with the token of who may speak in it (by WHIP). Anybody may listen who has the
# link, unless there is a token for that as well; people then need the link that ends in #TOKEN.
[rooms.lobby]
speak = "{token}"
# listen = "..."
# Another relay that has this room under this name and these tokens (your encoder then sends to
# both): when nine tenths of this one are taken, whoever is new is sent there.
# also_at = ["https://audio.example.net"]
"""
