"""What a node is told when it starts. A frozen value, passed down; nothing here is global."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from p2phouse.errors import UserError
from p2phouse.vocabulary import DeviceKey

LanMode = Literal["off", "loopback", "on"]
SOCKET_PATH_BYTES_MAX = 100  # sun_path holds 108 on Linux, 104 on macOS, NUL included


class HomeUnusable(UserError):
    """The folder {path} cannot be used ({reason}). Choose another with --home DIR."""


class RuntimeUnsafe(UserError):
    """The folder {path} is not safe for this node's sockets ({reason}).
    Set P2PHOUSE_RUNTIME_DIR to a folder of your own."""


@dataclass(frozen=True, slots=True)
class NamedRelay:
    """A node to keep in touch with. dev: if known already, it need not be asked (over UDP)."""

    host: str
    port: int
    dev: DeviceKey | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """home: identity and state. runtime: sockets, gone after a reboot. mouth, ear: SetInput and
    SetOutput specs. port: TCP and UDP port asked for, None for any free one. page: serve the
    owner's page. relays: nodes to keep in touch with, to be reached through.
    relay_only: nobody but those may see our network address."""

    home: Path
    runtime: Path
    port: int | None = None
    lan: LanMode = "on"
    mouth: str = "none"
    ear: str = "null"
    name: str = ""
    page: bool = False
    relays: tuple[NamedRelay, ...] = ()
    relay_only: bool = False


def home_of(given: str | None) -> Path:
    """The node's home: given, else P2PHOUSE_HOME, else the system's place for user data."""
    text = given or os.environ.get("P2PHOUSE_HOME") or platformdirs.user_data_dir("p2phouse")
    return Path(text).expanduser().absolute()


def runtime_of() -> Path:
    """Where the sockets of this person's nodes lie: P2PHOUSE_RUNTIME_DIR, else the system's."""
    given = os.environ.get("P2PHOUSE_RUNTIME_DIR")
    if given:
        return Path(given).absolute()
    system = os.environ.get("XDG_RUNTIME_DIR")
    if system and os.access(system, os.W_OK):
        return Path(system) / "p2phouse"
    return Path("/tmp") / f"p2phouse-{os.getuid()}"


def api_socket(home: Path, runtime: Path) -> Path:
    """The node's socket for commands. Named by its home, for a path under it may be too long."""
    return runtime / f"api-{home_label(home)}.sock"


def home_label(home: Path) -> str:
    """Tells the files of one home from another's in the run-time directory they share."""
    return hashlib.sha256(os.fsencode(home)).hexdigest()[:16]


def make_private(path: Path, error: type[UserError]) -> None:
    """Makes `path` a folder that only we may enter, or raises `error`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        owners = {path.lstat().st_uid, path.stat().st_uid}
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as problem:
        raise error(path=path, reason=problem.strerror) from problem
    # Security: in a folder that others may write, they could put a socket in place of ours; a
    # symbolic link of theirs, as anybody may leave one in /tmp, they could point elsewhere later.
    if owners != {os.getuid()} or mode & 0o022:
        raise error(path=path, reason="it belongs to somebody else or others may write in it")
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX - 30 and error is RuntimeUnsafe:
        raise error(path=path, reason="its path is too long for sockets")
