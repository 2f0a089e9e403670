"""Guests on our own network: a relay that this node starts beside itself, for one room.

Nothing here knows how a relay works. The program is run (its package need not be installed), asked
to carry our room as any other relay is, and ended with the room or with us. docs/adr/0027 says why
a node does not serve browsers itself.
"""

import importlib.util
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from p2phouse.config import Config
from p2phouse.errors import LinkError, UserError
from p2phouse.hall.invitation import room_text
from p2phouse.hall.relay_ask import Verdict
from p2phouse.identity.keys import Me, peer_id
from p2phouse.net.addresses import unpack_all
from p2phouse.record.types import Access
from p2phouse.vocabulary import RoomId, UserKey

if TYPE_CHECKING:
    from p2phouse.relays import Relays
    from p2phouse.room.room import Rooms
    from p2phouse.room.state import Membership

log = logging.getLogger(__name__)

PROGRAM: Final = "p2phouse_relay"
FOLDER: Final = "guests"  # of the home: the key by which the room knows the relay again
BEGIN_S_MAX: Final = 30.0  # a start of Python on a small machine that does something else as well
END_S_MAX: Final = 12.0  # it hands the room over first, for ten seconds at most
COMES_S_MAX: Final = 10.0
COMES_LOOK_S: Final = 0.1
LOOK_S: Final = 1.0
LINE_BYTES_MAX: Final = 64 * 1024


class NoRelayProgram(UserError):
    """Guests in browsers need the relay's program, which is not installed here. Run `pip install
    --force-reinstall p2phouse`, or give the room to a relay: p2phouse relays use HOST."""


class NotOurRoom(UserError):
    """Only whoever opened the room has guests in it, on the device that opened it."""


class OnlyMembers(UserError):
    """This room is sealed: what is said in it is for its members alone. Open one with --access open
    or --lan for guests."""


class NoNetwork(UserError):
    """This machine is on no network, so no guest could come. Connect it to one first."""


class GuestsFailed(LinkError):
    """The relay for guests did not begin: {reason}"""


@dataclass(eq=False, slots=True)
class _Running:
    process: trio.Process
    room: RoomId
    relay: UserKey
    page: str


class Beside:
    """`open` and `close` are what the person asks; `run` ends what the room has left behind."""

    def __init__(
        self,
        config: Config,
        me: Me,
        rooms: "Rooms",
        relays: "Relays",
        addrs: Callable[[], list[bytes]],
        *,
        program: str = PROGRAM,
    ) -> None:
        """addrs: where others may dial this node. program: the package that is run."""
        self._config = config
        self._me = me
        self._rooms = rooms
        self._relays = relays
        self._addrs = addrs
        self._program = program
        self._running: _Running | None = None
        self._changing = trio.Lock()

    @property
    def page(self) -> str:
        """Where guests of our room listen, http://…; empty if it has none."""
        return self._running.page if self._running is not None else ""

    async def open(self) -> str:
        """Our room has guests from now on: where they listen. Raises P2PHouseError."""
        async with self._changing:
            here = self._ours()
            if self._running is not None and self._running.room == here.room:
                return self._running.page
            await self._end()
            self._running = await self._begin(here)
            log.info("guests_on")
            return self._running.page

    async def close(self) -> None:
        async with self._changing:
            await self._end()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(LOOK_S)
            its = self._running
            if its is None:
                continue
            here = self._rooms.membership
            is_gone = here is None or not here.joined or here.room != its.room
            if its.process.poll() is not None or is_gone:
                async with self._changing:
                    if self._running is its:  # else there are guests of another room by now
                        log.info("guests_off status=%s", its.process.returncode)
                        await self._end()

    def _ours(self) -> "Membership":
        here = self._rooms.membership
        if here is None or here.genesis is None or here.genesis.record.dev != self._me.dev:
            raise NotOurRoom
        if here.is_sealed:
            raise OnlyMembers
        return here

    # ── the process ──────────────────────────────────────────────────────────────────────────

    async def _begin(self, here: "Membership") -> _Running:
        assert here.genesis is not None
        if importlib.util.find_spec(self._program) is None:
            raise NoRelayProgram
        address = self._address()
        command = [
            *(sys.executable, "-m", self._program, "up", "--json", "--tied"),
            f"--beside={self._me.uid.hex()}",
            f"--name={self._me.record.record.name}",
            f"--address={address}",
            f"--home={self._config.home / FOLDER}",
        ]
        if here.genesis.record.access is Access.LAN:
            command.append("--near")
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            facts = await _first_words(process)
            relay = await self._relays.look(f"{address}:{facts['port']}")
            # Security: what listens there is what we have started, and nobody else's program.
            # Test: test_beside.py::test_a_relay_for_which_somebody_else_answers_is_given_no_room
            if peer_id(relay.dev) != facts["peer_id"]:
                raise GuestsFailed(reason="somebody else answers at its port.")
            said = await self._relays.give(relay, None)
            if said.verdict is not Verdict.CARRIED:
                raise GuestsFailed(reason=f"it says {said.verdict.name.lower()}.")
            await self._comes(relay.uid)
        except BaseException:  # given up as well: nobody else knows of the process yet
            with trio.CancelScope(shield=True):
                await _ended(process)
            raise
        return _Running(process, here.room, relay.uid, f"{facts['http']}/r/{room_text(here.room)}")

    async def _comes(self, relay: UserKey) -> None:
        """Until it is in our room: before that its page knows of none."""
        with trio.move_on_after(COMES_S_MAX):
            while (here := self._rooms.membership) is not None:
                if relay in {each.uid for each in here.members.values()}:
                    return
                await trio.sleep(COMES_LOOK_S)

    async def _end(self) -> None:
        its, self._running = self._running, None
        if its is not None:
            self._relays.forget(its.relay)
            await _ended(its.process)

    def _address(self) -> str:
        """Of this machine, by which its network reaches it; net/ground has what leads out first.

        Raises NoNetwork."""
        if self._config.lan == "loopback":
            return "127.0.0.1"
        for each in unpack_all(self._addrs()):
            if each.ip.version == 4 and not each.ip.is_loopback:
                return str(each.ip)
        raise NoNetwork


async def _first_words(process: trio.Process) -> dict[str, Any]:
    """What it prints once guests can come. Raises GuestsFailed."""
    assert process.stdout is not None
    line = b""
    with trio.move_on_after(BEGIN_S_MAX):
        while not line.endswith(b"\n") and len(line) < LINE_BYTES_MAX:
            part = await process.stdout.receive_some()
            if not part:
                break
            line += part
    try:
        facts: dict[str, Any] = json.loads(line)
    except ValueError:
        raise GuestsFailed(reason="it ended without a word.") from None
    if "error" in facts:
        raise GuestsFailed(reason=facts["error"])
    return facts


async def _ended(process: trio.Process) -> None:
    """Told to end, waited for, and then no more."""
    with suppress(ProcessLookupError):
        process.terminate()
    with trio.move_on_after(END_S_MAX):
        await process.wait()
    if process.poll() is None:
        process.kill()
        await process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            await stream.aclose()
