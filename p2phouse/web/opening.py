"""Where the owner's page is and how a browser gets to it: its port, its token, its one-shot file.

The token stands in no command line and no log: a file that only we may read leads the browser to
the page, and is gone once the page has shown the token, or after a minute. No web server here.
"""

import base64
import hmac
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from p2phouse.errors import UserError

TOKEN_BYTES: Final = 32
FILE_S_MAX: Final = 60.0  # a browser that must start first, on a slow disk


class PageOff(UserError):
    """This node runs without a page. Start it again without --no-page."""


class PageFileUnwritable(UserError):
    """The file that opens the page cannot be written ({reason}). Free some space, then try
    p2phouse page again."""


class Opening:
    """One for the node's life. `origin` and `token` are what the media process is told too."""

    def __init__(self, folder: Path, label: str, entropy: Callable[[int], bytes]) -> None:
        """folder: the run-time directory. label: of this home, in the names of its files."""
        self._folder = folder
        self._prefix = f"page-{label}-"
        self._entropy = entropy
        self.token = entropy(TOKEN_BYTES)
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # Security: loopback alone, whatever --loopback says: the page is for this machine's owner.
        self.listener.bind(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.listener.listen()  # who comes before the web server is imported waits in the backlog
        self.origin = f"http://127.0.0.1:{self.port}"
        self.forget_files()  # of a node of this home that was killed

    @property
    def token_text(self) -> str:
        """As the page shows it to control and to media: base64url without padding."""
        return base64.urlsafe_b64encode(self.token).rstrip(b"=").decode()

    def is_token(self, given: str) -> bool:
        # Security: constant time, so that no program of this machine can guess byte by byte.
        return hmac.compare_digest(given.encode(), self.token_text.encode())

    def write_file(self) -> Path:
        """A new one-shot file that leads a browser to the page. Raises PageFileUnwritable."""
        path = self._folder / f"{self._prefix}{self._entropy(8).hex()}.html"
        target = f"{self.origin}/#{self.token_text}"
        try:
            # Security: 0600 from its first moment, and never through a file or link that is there.
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "w") as writing:
                writing.write(ONE_SHOT.format(target=target))
        except OSError as error:
            forget(path)
            raise PageFileUnwritable(reason=error.strerror) from error
        return path

    async def expire(self, path: Path) -> None:
        """Removes a one-shot file that no browser has used."""
        await trio.sleep(FILE_S_MAX)
        forget(path)

    def forget_files(self) -> None:
        for path in self._folder.glob(f"{self._prefix}*.html"):
            forget(path)

    def close(self) -> None:
        self.forget_files()
        self.listener.close()


def forget(path: Path) -> None:
    path.unlink(missing_ok=True)


ONE_SHOT: Final = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0;url={target}">
<title>p2phouse</title>
<a href="{target}">p2phouse</a>
"""
