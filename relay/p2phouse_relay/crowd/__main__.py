"""A crowd as a process of its own: one command a line of JSON on standard input, one answer a line.

`{"do": "join", "listeners": 20, "at_once": 8}` and so on: the methods of Crowd by their names. It
ends with its standard input, in the middle of whatever it does.
"""

import argparse
import gc
import json
import os
import resource
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from p2phouse.errors import P2PHouseError
from p2phouse_relay.crowd.crowd import LISTENERS_MAX, VOICES_MAX, Abandoned, Crowd
from p2phouse_relay.crowd.place import relay_at


def serve(crowd: Crowd) -> None:
    """Until standard input ends, or everybody has left."""
    crowd.watch(0)
    os.set_blocking(0, False)
    unread = b""
    while True:
        crowd.turn()
        try:
            data = os.read(0, 65_536)
        except BlockingIOError:
            continue
        if not data:
            return
        *lines, unread = (unread + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            done = _perform(crowd, command.pop("do"), command)
            print(json.dumps(done), flush=True)
            if crowd.has_left:
                return


def _perform(crowd: Crowd, do: str, given: dict[str, Any]) -> dict[str, Any]:
    try:
        match do:
            case "speak":
                crowd.speak(**given)
            case "join":
                return asdict(crowd.join(**given))
            case "rest":
                crowd.rest(**given)
            case "mark":
                crowd.mark()
            case "tell":
                return asdict(crowd.tell())
            case "leave":
                crowd.leave()
            case _:
                raise ValueError(do)
    except Abandoned:
        raise
    except P2PHouseError as error:
        return {"error": str(error)}
    return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("relay")
    parser.add_argument("--room", default="rehearsal")
    parser.add_argument("--token", default="")
    parser.add_argument("--listeners", type=int, choices=range(1, LISTENERS_MAX + 1), required=True)
    parser.add_argument("--voices", type=int, choices=range(1, VOICES_MAX + 1), default=1)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        crowd = Crowd(
            relay_at(given.relay),
            room=given.room,
            token=given.token,
            listeners_max=given.listeners,
            voices=given.voices,
        )
    except P2PHouseError as error:
        sys.exit(str(error))
    gc.collect()
    gc.freeze()
    with suppress(Abandoned):
        serve(crowd)


if __name__ == "__main__":
    main()
