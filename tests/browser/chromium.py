"""Debian's Chromium with a fake microphone, and the files of a page over loopback HTTP."""

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.needed import need

CHROMIUM = "/usr/bin/chromium"
STATIC = Path(__file__).parents[2] / "p2phouse/web/static"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-device-for-media-stream",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium(*flags: str) -> Iterator[Any]:
    """A browser of its own, for some die of a second recording; skips (in CI: fails) without."""
    with chromiums(flags) as (browser,):
        yield browser


@contextmanager
def chromiums(*flags: Sequence[str]) -> Iterator[list[Any]]:
    """A browser for each set of flags: two people's microphones are two browsers."""
    need(find_spec("playwright"), "needs a browser: pip install playwright")
    need(Path(CHROMIUM).exists(), "needs a browser: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, ExitStack() as opened:
        browsers = []
        for each in flags:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, headless=True, args=[*QUIET, *each]
            )
            opened.callback(browser.close)
            browsers.append(browser)
        yield browsers


def axe() -> Any:  # noqa: ANN401 - it has no types
    """Looks for what keeps people from reading and reaching a page."""
    need(find_spec("axe_playwright_python"), "needs: pip install axe-playwright-python")
    from axe_playwright_python.sync_playwright import Axe

    return Axe()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path, *files: Path) -> Iterator[str]:
    """The origin at which these files are, copied into `folder`."""
    for file in files:
        shutil.copy(file, folder / file.name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
