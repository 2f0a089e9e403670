"""A node for tests of keys and rules: `python -m tests.e2e.witness up …`, otherwise like any other.

It writes each packet that its media process seals or opens to the file WITNESS names: a line of
unix time, "sealed" or "opened", key and counter. With CHEAT=1 it also does nothing that the room's
log asks of it: it goes on speaking when muted, and stays when put out. With FORGE=1 it speaks as
whoever holds the key of the room, but not the audit key that its `speak` names.

If the file that CLOCK names is there, control's clock is wrong by as many seconds as stand in it.
"""

import os
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

WITNESS = "P2PHOUSE_TEST_WITNESS"
CHEAT = "P2PHOUSE_TEST_CHEAT"
FORGE = "P2PHOUSE_TEST_FORGE"
CLOCK = "P2PHOUSE_TEST_CLOCK"


class Seen(NamedTuple):
    """One packet that a witness sealed or opened."""

    unix: float
    how: str
    key: str
    counter: int


def read(path: Path) -> list[Seen]:
    """All that has been written so far; a line that is being written is left for the next time."""
    if not path.exists():
        return []
    whole = path.read_text().rpartition("\n")[0]
    fields = [line.split() for line in whole.splitlines()]
    return [Seen(float(unix), how, key, int(counter)) for unix, how, key, counter in fields]


def _watch_media() -> None:
    """In the media process: writes down what is sealed and opened."""
    from p2phouse.voice.seal import SealKey

    file = os.open(os.environ[WITNESS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    encrypt, decrypt = SealKey.encrypt, SealKey.decrypt

    def note(how: str, key: SealKey, counter: int) -> None:
        name = sha256(bytes([key.kid]) + key.base).hexdigest()[:16]
        # One write, before the packet leaves: a kill comes before it or after it.
        os.write(file, f"{time.time():.4f} {how} {name} {counter}\n".encode())

    def sealing(self: SealKey, counter: int, plaintext: bytes, metadata: bytes) -> bytes:
        note("sealed", self, counter)
        return encrypt(self, counter, plaintext, metadata)

    def opening(self: SealKey, counter: int, ciphertext: bytes, aad: bytes) -> bytes:
        plaintext = decrypt(self, counter, ciphertext, aad)
        note("opened", self, counter)
        return plaintext

    SealKey.encrypt = sealing  # type: ignore[method-assign]
    SealKey.decrypt = opening  # type: ignore[method-assign]


def _watch_child() -> None:
    """In control: has the media process begin in this module."""
    import trio

    open_process = trio.lowlevel.open_process

    async def open_witness(command: list[str], **options: Any) -> trio.Process:  # noqa: ANN401
        ours = [__spec__.name if part == "p2phouse.engine" else part for part in command]
        process: trio.Process = await open_process(ours, **options)
        return process

    trio.lowlevel.open_process = open_witness  # type: ignore[assignment]  # it is overloaded


def _set_clock() -> None:
    """In control, which alone knows what time it is."""
    true, path = time.time, Path(os.environ[CLOCK])

    def wrong() -> float:
        try:
            return true() + float(path.read_text())
        except FileNotFoundError:
            return true()

    time.time = wrong


def _forge() -> None:
    from p2phouse.voice.outgoing import OutgoingVoice

    OutgoingVoice.next_audit = lambda self: None  # type: ignore[method-assign]


def _cheat() -> None:
    from p2phouse.room.authority import Authority
    from p2phouse.room.rules import RoomState
    from p2phouse.room.talk import Talk

    put_out = Authority.put_out

    def disobey(self: Authority, now: Any, membership: Any) -> Any:  # noqa: ANN401
        gone = put_out(self, now, membership)
        membership.over = ""
        return gone

    RoomState.may_speak = lambda self, uid: True  # type: ignore[method-assign]
    Talk.silence = lambda self, now, membership: iter(())  # type: ignore[method-assign]
    Authority.put_out = disobey  # type: ignore[method-assign]
    Authority.has_gone_by = lambda self, membership: False  # type: ignore[method-assign]


def main() -> None:
    if sys.argv[1:2] != ["up"]:
        from p2phouse import engine

        if WITNESS in os.environ:
            _watch_media()
        if os.environ.get(FORGE) == "1":
            _forge()
        engine.main()
        return
    from p2phouse.cli import main as cli_main

    if WITNESS in os.environ:
        _watch_child()
    if CLOCK in os.environ:
        _set_clock()
    if os.environ.get(CHEAT) == "1":
        _cheat()
    cli_main()


if __name__ == "__main__":
    main()
