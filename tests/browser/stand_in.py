"""A node that says what a test wants, behind the real web server: any state of a room in a page.

What the page asks is kept; what it is answered the test sets. No sound and no network are in it:
what two people hear of each other is tested with real nodes (test_page.py, test_room.py).
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio

from p2phouse.api import Verb
from p2phouse.errors import UserError
from p2phouse.web import server
from p2phouse.web.opening import Opening

Facts = dict[str, Any]
VERBS = """
    id open join leave mute unmute rename title lock unlock end access hand lower_hand invite accept
    decline step_down audience mute_all unmute_all react typing role grant revoke why block unblock
    gain report follow unfollow invite_link qr lobby admit refuse chat unsay pin unpin mods
    chat_mode continue_room move page_sound reports carry doctor guest_link listeners
    relays relay_look relay_add relay_remove
"""
NAMES = ("ana", "ben", "zoe", "wen", "emre", "vera")
UIDS = {name: f"{at * 41 + 7:02x}" * 32 for at, name in enumerate(NAMES)}


class Refused(UserError):
    """{text}"""


def person(name: str, **facts: Any) -> Facts:  # noqa: ANN401 - JSON
    tag = f"{UIDS.get(name, '5a' * 32)[:4]}-{name[:4]:x<4}"
    return {
        "name": name.title(),
        "uid": UIDS.get(name, "5a" * 32),
        "key_tag": tag,
        "peer_id": f"12D3{name}",
        "you": False,
        "muted": True,
        "role": "speaker",
        "level": "speaker",
        "link": "connected",
        "level_dbov": -127,
        "on_stage": True,
        "invited": False,
        "hand": None,
        "typing": False,
        "blocked": False,
        "followed": False,
        "gain_pct": 100,
        "silence": None,
        "forged": False,
        "rtt_ms": 12.0,
        "loss_pct": 0.2,
        "may": [],
    } | facts


def said(number: int, by: str, text: str, **facts: Any) -> Facts:  # noqa: ANN401 - JSON
    who = person(by)
    return {
        "id": f"{number:064x}",
        "n": number,
        "by": who["key_tag"],
        "by_uid": who["uid"],
        "name": who["name"],
        "text": text,
        "at_s": 1_795_000_000 + 60 * number,
        "mine": False,
        "deleted": False,
    } | facts


class StandIn:
    """`room` and `members` are what the page sees; `asked` what it asked, in order."""

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self.me = {"version": "0", "mouth": "none", **person("ana")}
        self.rooms: list[Facts] = []
        self.room: Facts | None = None
        self.members: list[Facts] = []
        self.chat: Facts | None = None
        self.answers: dict[str, Facts | Exception] = {
            "carry": {"carry": "auto", "cap_kbps": 5_000, "links": 30}
            | {"on_mains": True, "metered": False, "willing": True}
        }
        self.asked: list[tuple[str, Facts]] = []
        self.pulse: Facts = {"sound": {"port": None, "ready": False}}
        self._happening: list[trio.MemorySendChannel[Facts]] = []
        self._loop: trio.lowlevel.TrioToken | None = None
        self._over = trio.Event()

    def address(self) -> str:
        return f"{self.opening.origin}/#{self.opening.token_text}"

    def enter(self, *members: Facts, **room: Any) -> None:  # noqa: ANN401 - JSON
        """The page's owner is in a room with these, and is the first of them."""
        ours = {**members[0], "you": True, "link": "here"}
        self.members = [ours, *members[1:]]
        self.me |= {"name": ours["name"], "uid": ours["uid"], "peer_id": ours["peer_id"]}
        self.room = {
            "room": "ab" * 32,
            "title": "Tea",
            "link": "p2ph:AAAA",
            "muted": ours["muted"],
            "people": len(members),
            "role": ours["role"],
            "level": ours["level"],
            "locked": False,
            "access": "open",
            "sealed": False,
            "stage": "everyone",
            "speakers_max": 16,
            "on_stage": sum(bool(each["on_stage"]) for each in members),
            "chat": "on",
            "confirmed": True,
            "attended": True,
            "closes_in_s": None,
            "successor": None,
            "lobby_count": 0,
            "exposure": "",
            "epoch": None,
            "keys": "public",
            "may": [],
        } | room
        self.happen("room_changed")

    def change(self, name: str, **facts: Any) -> None:  # noqa: ANN401 - JSON
        for each in self.members:
            if each["name"] == name.title():
                each.update(facts)
        self.happen("stage_changed")

    def happen(self, event: str, who: str | None = None, text: str = "") -> None:
        told = {"event": event, "room": None, "peer_id": who and f"12D3{who}", "text": text}

        def tell() -> None:
            for each in self._happening:
                each.send_nowait(told)

        if self._loop is not None:
            self._loop.run_sync_soon(tell)

    def asked_of(self, verb: str) -> list[Facts]:
        return [request for name, request in self.asked if name == verb]

    # ── the verbs ────────────────────────────────────────────────────────────────────────────

    def _verbs(self) -> dict[str, Verb]:
        def answering(name: str) -> Any:  # noqa: ANN401 - a verb
            async def verb(call: Any, request: Facts) -> Facts:  # noqa: ANN401 - api.Call
                self.asked.append((name, request))
                answer = self.answers.get(name, {})
                if isinstance(answer, Exception):
                    raise answer
                return answer

            return verb

        verbs = {name: answering(name) for name in VERBS.split()}

        async def status(call: Any, request: Facts) -> Facts:  # noqa: ANN401 - api.Call
            return self.me

        async def rooms(call: Any, request: Facts) -> Facts:  # noqa: ANN401 - api.Call
            return {"rooms": self.rooms}

        async def members(call: Any, request: Facts) -> Facts:  # noqa: ANN401 - api.Call
            return {**(self.room or {"room": None}), "report": 0, "members": self.members}

        async def messages(call: Any, request: Facts) -> Facts:  # noqa: ANN401 - api.Call
            if self.chat is None:
                raise Refused(text="no chat here")
            return self.chat

        async def events(call: Any, request: Facts) -> Facts:  # noqa: ANN401 - api.Call
            send, receive = trio.open_memory_channel[Facts](64)
            self._happening.append(send)
            async for event in receive:
                await call.tell(event)
            return {}

        verbs |= {"status": status, "rooms": rooms, "members": members, "messages": messages}
        told = {name: Verb(perform, page=True) for name, perform in verbs.items()}
        return told | {"events": Verb(events)}

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run, self.opening, self._verbs(), lambda: self.pulse)
            ready.set()
            await self._over.wait()
            nursery.cancel_scope.cancel()

    def _end(self) -> None:
        assert self._loop is not None
        self._loop.run_sync_soon(self._over.set)


@contextmanager
def stand_in() -> Iterator[StandIn]:
    with TemporaryDirectory() as folder:
        node = StandIn(Opening(Path(folder), "label", os.urandom))
        ready = threading.Event()
        thread = threading.Thread(target=trio.run, args=(node._serve, ready))
        thread.start()
        try:
            assert ready.wait(20)
            yield node
        finally:
            node._end()
            thread.join()
            node.opening.close()
