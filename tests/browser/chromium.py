"""Debian's Chromium with a fake microphone, and the files of a page over loopback HTTP."""

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

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
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        _missing("pip install playwright")
    if not Path(CHROMIUM).exists():
        _missing("apt-get install chromium")
    with sync_playwright() as playwright, ExitStack() as opened:
        browsers = []
        for each in flags:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, headless=True, args=[*QUIET, *each]
            )
            opened.callback(browser.close)
            browsers.append(browser)
        yield browsers


def _missing(remedy: str) -> None:
    reason = f"needs a browser: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


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
