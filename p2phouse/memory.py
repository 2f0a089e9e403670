"""What a node keeps between runs besides its keys: peers, unused invites, its room.

Three small files in the home, written whole and atomically, each by one task, the newest last.
Losing them loses no identity: peers are found again, a room can be joined again.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from p2phouse.errors import P2PHouseError
from p2phouse.identity.keyfile import read_private, write_atomically
from p2phouse.record import cbor, limits
from p2phouse.record.cbor import Value
from p2phouse.vocabulary import DeviceKey

log = logging.getLogger(__name__)

PEERS_KEPT_MAX: Final = 64
WRITE_PAUSE_S: Final = 1.0  # a burst of peers becomes one write
FILE_BYTES_MAX: Final = 64 * 1024


class Memory:
    """`met` and `remember_room` only note; `run` writes."""

    def __init__(self, home: Path) -> None:
        self._invites_path = home / "invites.cbor"
        self._peers_path = home / "peers.cbor"
        self._room_path = home / "room.cbor"
        self._peers = _peers(_read(self._peers_path))
        invites = _read(self._invites_path)
        self.invites = invites if isinstance(invites, list) else []
        room = _read(self._room_path)
        self.room = room if isinstance(room, list) else None
        self._peers_dirty = trio.Event()
        self._room_dirty = trio.Event()

    @property
    def peers(self) -> list[tuple[DeviceKey, tuple[bytes, ...]]]:
        """Peers met, the latest first."""
        return list(reversed(self._peers.items()))

    def met(self, dev: DeviceKey, addrs: Sequence[bytes]) -> None:
        """A peer was reached there just now. Nothing is noted of one who only came to us."""
        if not addrs or self.peers[:1] == [(dev, tuple(addrs))]:
            return
        self._peers.pop(dev, None)  # and in again, as the latest
        self._peers[dev] = tuple(addrs)
        while len(self._peers) > PEERS_KEPT_MAX:
            del self._peers[next(iter(self._peers))]
        self._peers_dirty.set()

    def remember_room(self, state: list[Value] | None) -> None:
        if state != self.room:
            self.room = state
            self._room_dirty.set()

    async def keep_invites(self, invites: list[Value]) -> None:
        """Returns once they are kept: nobody may see one used that a restart would make new."""
        self.invites = invites
        await trio.to_thread.run_sync(self._write_invites)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_peers)
            nursery.start_soon(self._keep_room)

    async def _keep_peers(self) -> None:
        try:
            while True:
                await self._peers_dirty.wait()
                self._peers_dirty = trio.Event()
                await trio.to_thread.run_sync(self._write_peers)
                await trio.sleep(WRITE_PAUSE_S)
        finally:
            if self._peers_dirty.is_set():
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._write_peers)

    async def _keep_room(self) -> None:
        """Without a pause: who is killed a moment after joining comes back to the room."""
        try:
            while True:
                await self._room_dirty.wait()
                self._room_dirty = trio.Event()
                await trio.to_thread.run_sync(self._write_room)
        finally:
            if self._room_dirty.is_set():  # a clean end has just left the room
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._write_room)

    def _write_peers(self) -> None:
        peers: list[Value] = [[dev, list(addrs)] for dev, addrs in list(self._peers.items())]
        try:
            write_atomically(self._peers_path, cbor.encode(peers))
        except P2PHouseError as error:
            log.warning("peers_not_written error=%s", error)  # a full disk must not end a talk

    def _write_invites(self) -> None:
        try:
            write_atomically(self._invites_path, cbor.encode(self.invites))
        except P2PHouseError as error:
            log.warning("invites_not_written error=%s", error)
            # Security: rather none than one that two can use.
            with suppress(OSError):
                self._invites_path.unlink(missing_ok=True)

    def _write_room(self) -> None:
        room = self.room
        try:
            if room is None:
                self._room_path.unlink(missing_ok=True)
            else:
                write_atomically(self._room_path, cbor.encode(room))
        except (OSError, P2PHouseError) as error:
            log.warning("room_not_written error=%s", error)


def _read(path: Path) -> Value:
    """The file's value; None if there is none, or none that can be read."""
    try:
        return cbor.decode(read_private(path), size_max=FILE_BYTES_MAX)
    except FileNotFoundError:
        return None
    except (OSError, P2PHouseError) as error:
        log.warning("memory_unreadable file=%s error=%s", path.name, error)
        return None


def _peers(value: Value) -> dict[DeviceKey, tuple[bytes, ...]]:
    """What of a file's value is peers; the rest was written by a later version, or damaged."""
    known: dict[DeviceKey, tuple[bytes, ...]] = {}
    for item in value[-PEERS_KEPT_MAX:] if isinstance(value, list) else []:
        match item:
            case [bytes(dev), list(addrs)] if len(dev) == 32 and len(addrs) <= limits.ADDRS_MAX:
                known[DeviceKey(dev)] = tuple(addr for addr in addrs if isinstance(addr, bytes))
    return known
