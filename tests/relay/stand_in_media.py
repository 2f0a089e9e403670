"""A media process that carries nothing: it says what control waits for, and connects who is opened.

A guest whose ufrag begins with `never` does not come; with `lost` it comes and is lost at once;
with `dies` this process ends. What it was told goes to its standard error, a line each.
"""

import argparse
import selectors
import socket
import sys

from p2phouse.channel import (
    Down,
    FrameReader,
    LinkState,
    LinkStatus,
    Load,
    OpenGuest,
    PortReady,
    Started,
    Up,
    encode,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("fd", type=int)
    parser.add_argument("--address")
    parser.add_argument("--udp-port", type=int)
    parser.add_argument("--log")
    given = parser.parse_args()
    channel = socket.socket(fileno=given.fd)
    port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port.bind((given.address, given.udp_port))

    def say(*messages: Up) -> None:
        channel.sendall(b"".join(map(encode, messages)))

    say(Started(1), PortReady(port.getsockname()[1], bytes(range(32))), Load(0))
    reader = FrameReader("down")
    waiting = selectors.DefaultSelector()
    waiting.register(channel, selectors.EVENT_READ)
    while data := channel.recv(65_536):
        for message in reader.feed(data):
            print(type(message).__name__, file=sys.stderr, flush=True)
            if isinstance(message, OpenGuest):
                say(*_what_follows(message))


def _what_follows(guest: Down) -> list[Up]:
    assert isinstance(guest, OpenGuest)
    if guest.remote_ufrag.startswith("dies"):
        sys.exit(1)
    said: list[Up] = [LinkState(guest.link, LinkStatus.CONNECTED, "")]
    if guest.remote_ufrag.startswith("lost"):
        said.append(LinkState(guest.link, LinkStatus.LOST, ""))
    return [] if guest.remote_ufrag.startswith("never") else said


if __name__ == "__main__":
    main()
