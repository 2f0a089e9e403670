"""A media process that carries nothing: it says what control waits for, and connects who is opened.

A guest whose ufrag begins with `never` does not come; with `lost` it comes and is lost at once;
with `dies` this process ends. Links to nodes come up as soon as both ends are known. What it was
told goes to its standard error, a line each.
"""

import argparse
import contextlib
import selectors
import socket
import sys

from p2phouse.channel import (
    ConnectLink,
    Down,
    FrameReader,
    LinkState,
    LinkStatus,
    Load,
    LocalDescription,
    NewVoice,
    OpenGuest,
    OpenLink,
    PortReady,
    Started,
    Up,
    VoiceKey,
    encode,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("fd", type=int)
    parser.add_argument("--address", action="append")
    parser.add_argument("--udp-port", type=int)
    parser.add_argument("--log")
    parser.add_argument("--near", action="store_true")
    parser.add_argument("--across")
    parser.add_argument("--to", action="append")
    given = parser.parse_args()
    channel = socket.socket(fileno=given.fd)
    port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port.bind((given.address[0], given.udp_port))

    def say(*messages: Up) -> None:
        channel.sendall(b"".join(map(encode, messages)))

    say(Started(1), PortReady(port.getsockname()[1], bytes(range(32))), Load(0))
    reader = FrameReader("down")
    waiting = selectors.DefaultSelector()
    waiting.register(channel, selectors.EVENT_READ)
    while data := channel.recv(65_536):
        for message in reader.feed(data):
            print(type(message).__name__, file=sys.stderr, flush=True)
            with contextlib.suppress(BrokenPipeError):  # control has ended, and so do we
                say(*what_follows(message))  # type: ignore[arg-type]  # a reader of "down" gives Down


def what_follows(message: Down) -> list[Up]:
    match message:
        case OpenGuest():
            return _of_guest(message)
        case OpenLink(link):
            return [LocalDescription(link, "ufrag", "p" * 22, bytes(32), ())]
        case NewVoice(sid):
            return [VoiceKey(sid, bytes(32))]
        case ConnectLink(link):
            return [LinkState(link, LinkStatus.CONNECTED, "")]
    return []


def _of_guest(guest: OpenGuest) -> list[Up]:
    if guest.remote_ufrag.startswith("dies"):
        sys.exit(1)
    said: list[Up] = [LinkState(guest.link, LinkStatus.CONNECTED, "")]
    if guest.remote_ufrag.startswith("lost"):
        said.append(LinkState(guest.link, LinkStatus.LOST, ""))
    return [] if guest.remote_ufrag.startswith("never") else said


if __name__ == "__main__":
    main()
