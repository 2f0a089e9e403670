"""The relays that the owner of this node knows: where each is, and the policy that it showed.

A file of the home, as the other lists are: readable by its owner alone, never written over when it
cannot be read.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from p2phouse.errors import P2PHouseError, UserError
from p2phouse.identity.keyfile import FileExposed, FileUnreadable, read_private, write_atomically
from p2phouse.people.book import ListDamaged
from p2phouse.record import cbor, envelope
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Policy
from p2phouse.vocabulary import DeviceKey, UserKey

VERSION: Final = 1
RELAYS_MAX: Final = 16
FILE_BYTES_MAX: Final = 64 * 1024


class TooManyRelays(UserError):
    """You know {limit} relays and no more can be kept. Take one off: p2phouse relays remove."""


class NoSuchRelay(UserError):
    """You know no relay {text}. `p2phouse relays list` shows those that you do."""


@dataclass(frozen=True, slots=True)
class KnownRelay:
    host: str
    port: int
    policy: Signed[Policy]

    @property
    def dev(self) -> DeviceKey:
        return DeviceKey(self.policy.record.dev)

    @property
    def uid(self) -> UserKey:
        return UserKey(self.policy.record.uid)

    @property
    def at(self) -> str:
        """As it was typed."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RelayBook:
    """Every method reads or writes the file: call them in a thread."""

    def __init__(self, home: Path) -> None:
        self._path = home / "relays"
        self._lock = threading.Lock()  # between reading and writing

    def read(self) -> list[KnownRelay]:
        """In the order in which they were added. Raises UserError."""
        try:
            value = cbor.decode(read_private(self._path), size_max=FILE_BYTES_MAX)
            match value:
                case [int(version), list(items)] if (type(version), version) == (int, VERSION):
                    return [_relay(item) for item in items[:RELAYS_MAX]]
        except FileNotFoundError:
            return []
        except (FileExposed, FileUnreadable, ListDamaged):
            raise
        except P2PHouseError as error:
            raise ListDamaged(path=self._path, reason=str(error).rstrip(".")) from error
        raise ListDamaged(path=self._path, reason="it is no list of relays of this version")

    def put(self, relay: KnownRelay) -> None:
        """In place of what was known of that relay. Raises UserError."""
        with self._lock:
            others = [each for each in self.read() if each.dev != relay.dev and each.at != relay.at]
            if len(others) >= RELAYS_MAX:
                raise TooManyRelays(limit=RELAYS_MAX)
            self._write([*others, relay])

    def take_off(self, text: str) -> KnownRelay:
        """By its address or its name. Raises UserError."""
        with self._lock:
            relays = self.read()
            relay = find(relays, text)
            self._write([each for each in relays if each is not relay])
            return relay

    def _write(self, relays: list[KnownRelay]) -> None:
        told: list[Value] = [[each.host, each.port, each.policy.data] for each in relays]
        write_atomically(self._path, cbor.encode([VERSION, told]))


def find(relays: list[KnownRelay], text: str) -> KnownRelay:
    """Raises NoSuchRelay."""
    wanted = text.casefold().removeprefix("https://").rstrip("/")
    for relay in relays:
        if wanted in (relay.at.casefold(), relay.host.casefold()):
            return relay
    named = [each for each in relays if each.policy.record.name.casefold() == wanted]
    if len(named) != 1:
        raise NoSuchRelay(text=text)
    return named[0]


def _relay(item: Value) -> KnownRelay:
    match item:
        case [str(host), int(port), bytes(policy)] if 0 < port < 65_536:
            return KnownRelay(host, port, envelope.read(policy, Policy))
    raise cbor.Malformed(reason="something in it is no relay")
