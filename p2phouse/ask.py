"""How a command asks the node that runs: one unix socket, one JSON object a line.

Imports nothing but the standard library, so that the command line stays quick.
"""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from p2phouse.errors import P2PHouseError, UserError

LINE_BYTES_MAX: Final = 256 * 1024


class NoNode(UserError):
    """No node runs for {home}. Start one in another terminal: p2phouse up."""


class NodeSaid(UserError):
    """{text}"""


class NodeFailed(P2PHouseError):
    """{text}"""


class Asking:
    """One request on its way. Iterate for progress, then read `result`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.result: dict[str, Any] = {}

    def stop(self) -> None:
        """Tells the node that we want no more; it answers with what there is."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Events as they happen, until the result is there. Raises what the node answered."""
        with self._connection, self._connection.makefile("rb") as lines:
            while line := lines.readline(LINE_BYTES_MAX):
                message: dict[str, Any] = json.loads(line)
                if "event" in message:
                    yield message
                elif "error" in message:
                    kind = NodeSaid if message.get("yours") else NodeFailed
                    raise kind(text=message["error"])
                else:
                    self.result = message["result"]
                    return
        raise NodeFailed(text="The node ended before it answered. Start it again: p2phouse up.")


def ask(path: Path, home: Path, verb: str, /, **arguments: Any) -> Asking:  # noqa: ANN401 - JSON
    """Sends one verb to the node of `home`. Raises NoNode."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Security: in a folder of somebody else's another program could play our node.
        if path.parent.lstat().st_uid != os.getuid():
            raise PermissionError("the folder of the node's socket belongs to somebody else")
        connection.connect(str(path))
        connection.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
    except OSError as error:
        connection.close()
        raise NoNode(home=home) from error
    return Asking(connection)
