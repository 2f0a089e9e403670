"""The far ends of a bench, in a process of their own so that their work is not counted.

`python -m bench.sinks COUNT` answers as many links as offers come on standard input, a line of
JSON each, with a line each; it ends with its input. It counts what arrives.
"""

import asyncio
import json
import sys

from p2phouse.channel import LinkRole
from p2phouse.link.link import Description, Link
from p2phouse.vocabulary import LinkNumber

counts: dict[int, int] = {}


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

    def count(number: LinkNumber, _: bytes) -> None:
        counts[number] = counts.get(number, 0) + 1

    while line := await reader.readline():
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
