"""A node whose core stands on a table: what a verb asks is answered at once."""

from collections.abc import Iterable
from pathlib import Path

import trio

from p2phouse.api import Call
from p2phouse.config import Config
from p2phouse.node import Node
from p2phouse.room import messages
from p2phouse.room.messages import VerbAction
from p2phouse.verbs.table import VERBS
from p2phouse.vocabulary import UserKey
from p2phouse.willing import Willing
from tests import promised
from tests.room.table import Table


class TableNode(Node):
    def __init__(self, table: Table, folder: Path = Path("none")) -> None:
        super().__init__(Config(folder, folder))
        self.table = table
        self.me = table.me
        self.rooms = table.rooms
        self.willing = Willing(folder, self._offer_to_carry, has_mains=lambda: True)

    async def act(self, action: VerbAction) -> dict[str, object]:
        answer = self.table.answer(self.table.ask(action))
        if answer.error is not None:
            raise answer.error
        return answer.facts

    async def follow(self, people: Iterable[UserKey]) -> None:
        self.table.tell(self.me.dev, messages.Following(frozenset(people)))

    async def _offer_to_carry(self, offer: messages.Carry) -> None:
        self.table.tell(self.me.dev, offer)

    async def asked(self, verb: str, **arguments):
        """What it answers, which is what docs/asyncapi.json promises."""

        async def tell(event):
            promised.check_event(verb, event)

        result = await VERBS[verb](self, Call(tell, trio.Event()), arguments)
        promised.check_result(verb, result)
        return result
