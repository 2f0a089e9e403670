"""What it costs a relay's control that pages know what goes on in a room: by asking, or being told.

CPU of the process that answers, over loopback, without TLS and with it; the pages are a process of
their own. The room has eight on its stage and fifty messages in its chat. What is asked for is a
file of the page, which is found and answered by the same way as `/now` without closing.
"""

import socket
import ssl
import subprocess
import sys
import time
from itertools import count
from os import urandom
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from bench.figures import Figure
from p2phouse.guest import following, http
from p2phouse.guest.exchange import Reply, Request
from p2phouse.guest.facts import NodeRoom, Said, Seat
from p2phouse.guest.page import Page
from p2phouse.guest.resources import Guests
from p2phouse.vocabulary import LinkNumber
from p2phouse_relay.run import DEV_TERMS

NAME = "news"
PAGES = 500
ASKED = 5_000
CHANGES = 20
SEAT = Seat("Ana", "9l2n-r8jb", "0a" * 10, "speaker", "", LinkNumber(0))
SAID = Said("a1", "Zoé", "7bqt-2j9d", "0d" * 10, "Which one is it? " * 4, 1_795_000_000)
ROOM = NodeRoom("Night ferry", "open", stage=(SEAT,) * 8, chat=(SAID,) * 50)


def run() -> list[Figure]:
    for module in (http, following):  # here they all come from one address
        vars(module)["OF_ONE_SOURCE_MAX"] = 2 * PAGES
    figures = []
    for how in ("", "TLS"):
        asked, told, idle = trio.run(_measured, how)
        behind = f", {how}" if how else ""
        note = (
            f"{ASKED} of {PAGES} pages, on connections that stay; {asked / told:.0f} times a push"
        )
        figures.append(Figure(f"a page asks, and nothing is new{behind}", asked, "µs", note=note))
        note = f"{CHANGES} changes to {PAGES} pages; idle {idle:.2f} % of a core"
        figures.append(Figure(f"a page is told of a change{behind}", told, "µs", note=note))
    return figures


async def _measured(how: str) -> tuple[float, float, float]:
    """Microseconds of CPU per question and per push; per cent of a core while nothing changes."""
    guests = Guests(DEV_TERMS, urandom, count(1))
    guests.carry("ferry", ROOM)
    page = Page(guests, relay="bench")

    async def answer(request: Request) -> Reply:
        reply = page.reply(request)
        assert reply is not None
        return reply

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = str(listeners[0].socket.getsockname()[1])
        ears: list[http.Listener] = list(listeners)
        if how:
            context = _certified()
            ears = [trio.SSLListener(each, context, https_compatible=True) for each in listeners]
        nursery.start_soon(http.Front(answer).serve, ears)
        nursery.start_soon(page.run)
        pages = [sys.executable, "-m", __name__, port, how]
        child = await trio.to_thread.run_sync(_begun, pages)
        before = time.process_time()
        await trio.to_thread.run_sync(_next, child)  # they have asked
        asked = time.process_time() - before
        await trio.to_thread.run_sync(_next, child)  # they follow
        before = time.process_time()
        await trio.sleep(5)
        idle = time.process_time() - before
        before = time.process_time()
        for number in range(CHANGES):
            facts = NodeRoom("Night ferry", "open", (SEAT,) * 8, number + 1, chat=(SAID,) * 50)
            guests.carry("ferry", facts)
            await trio.sleep(following.LOOK_S * 1.1)
        told = time.process_time() - before
        child.kill()
        nursery.cancel_scope.cancel()
    return asked / ASKED * 1e6, told / CHANGES / PAGES * 1e6, idle / 5 * 100


def _certified() -> ssl.SSLContext:
    with TemporaryDirectory() as folder:
        pair = [str(Path(folder) / name) for name in ("key.pem", "certificate.pem")]
        make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=bench"
        command = ["openssl", *make.split(), "-keyout", pair[0], "-out", pair[1]]
        subprocess.run(command, check=True, capture_output=True)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair[1], pair[0])
    return context


def _begun(command: list[str]) -> "subprocess.Popen[str]":
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    _next(child)
    return child


def _next(child: "subprocess.Popen[str]") -> None:
    assert child.stdout is not None
    assert child.stdout.readline(), "the pages have ended"


# ── in the child ─────────────────────────────────────────────────────────────────────────────


def pages(port: int, how: str) -> None:
    """Connect, ask, follow; a line of output after each."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    all_: list[socket.socket] = []
    for _ in range(PAGES):
        plain = socket.create_connection(("127.0.0.1", port))
        all_.append(context.wrap_socket(plain) if how else plain)
    tag = _asked(all_[0], "/listen.js", "").partition(b"etag: ")[2].split()[0].decode()
    for each in all_:
        _asked(each, "/listen.js", tag)
    print("connected", flush=True)
    for number in range(ASKED):
        assert b" 304 " in _asked(all_[number % PAGES], "/listen.js", tag)
    print("asked", flush=True)
    for each in all_:
        each.sendall(b"GET /r/ferry/news HTTP/1.1\r\nHost: bench\r\n\r\n")
    for each in all_:
        data = b""
        while b'"slots"' not in data:
            data += _received(each)
    print("follow", flush=True)
    while all(each.recv(65_536) for each in all_):
        pass


def _asked(each: socket.socket, path: str, tag: str) -> bytes:
    """The answer's head. What browsers send beside it is of about this length."""
    lines = [f"GET {path} HTTP/1.1", "Host: bench", "Accept: */*", "Sec-Fetch-Mode: cors"]
    lines += ["User-Agent: " + "Mozilla " * 14, "Accept-Language: en", f"If-None-Match: {tag}"]
    each.sendall("\r\n".join([*lines, "", ""]).encode())
    told = b""
    while b"\r\n\r\n" not in told:
        told += _received(each)
    head, _, body = told.partition(b"\r\n\r\n")
    length = int(head.partition(b"content-length: ")[2].split()[0]) if b" 200 " in head else 0
    while len(body) < length:
        body += _received(each)
    return head


def _received(each: socket.socket) -> bytes:
    data = each.recv(65_536)
    assert data, "the relay has hung up"
    return data


if __name__ == "__main__":
    pages(int(sys.argv[1]), sys.argv[2])
