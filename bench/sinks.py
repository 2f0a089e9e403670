"""The far ends of a bench, in a process of their own so that their work is not counted.

`python -m bench.sinks` answers as many links as offers come on standard input, a line of JSON each,
with a line each; it ends with its input. It counts what arrives, and how long it was on the way if
the payload begins with the time (time.monotonic_ns) at which it was sent.
"""

import asyncio
import json
import sys
import time

from p2phouse.channel import LinkRole
from p2phouse.link.link import Description, Link
from p2phouse.vocabulary import LinkNumber
from p2phouse.voice.packet import HEADER_BYTES

counts: dict[int, int] = {}
delays_us: list[int] = []


def to_text(end: Description) -> str:
    return json.dumps([end.ufrag, end.pwd, end.fp.hex(), list(end.cands)])


def from_text(text: str) -> Description:
    ufrag, pwd, fingerprint, candidates = json.loads(text)
    return Description(ufrag, pwd, bytes.fromhex(fingerprint), tuple(candidates))


async def main() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    links: list[Link] = []
    connecting: list[asyncio.Task[None]] = []

    def count(number: LinkNumber, packet: bytes) -> None:
        counts[number] = counts.get(number, 0) + 1
        if is_timed:
            sent_ns = int.from_bytes(packet[HEADER_BYTES : HEADER_BYTES + 8])
            delays_us.append((time.monotonic_ns() - sent_ns) // 1_000)

    is_timed = False
    while line := await reader.readline():
        if line == b"time\n":  # from now on
            is_timed = True
            delays_us.clear()
            print(flush=True)
            continue
        if line == b"delays\n":
            print(json.dumps(delays_us), flush=True)
            continue
        if line == b"count\n":
            print(sum(counts.values()), flush=True)
            continue
        link = Link(
            LinkNumber(len(links) + 1),
            LinkRole.ANSWERER,
            local_only=False,
            loopback_only=True,
            on_packet=count,
            on_control=lambda number, data: None,
            on_state=lambda number, status, reason: None,
        )
        links.append(link)
        print(to_text(await link.open()), flush=True)
        connecting.append(asyncio.ensure_future(link.connect(from_text(line.decode()))))
    for link in links:
        await link.close()


if __name__ == "__main__":
    asyncio.run(main())
