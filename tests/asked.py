"""A node whose core stands on a table: what a verb asks is answered at once."""

from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import trio

from p2phouse.api import Call
from p2phouse.beside import Beside
from p2phouse.config import Config
from p2phouse.net.hello import NobodyAnswers
from p2phouse.node import Node
from p2phouse.relays import Relays
from p2phouse.room import messages
from p2phouse.room.messages import VerbAction
from p2phouse.shell import Shell
from p2phouse.verbs.table import VERBS
from p2phouse.vocabulary import DeviceKey, UserKey
from p2phouse.willing import Willing
from tests import promised
from tests.room.table import Table


class NobodyNear:
    """A network in which nobody answers."""

    def __init__(self, dev: DeviceKey) -> None:
        self.dev = dev

    async def hello(self, host: str, port: int) -> NoReturn:
        raise NobodyAnswers(host=host, port=port)


class TableNode(Node):
    def __init__(self, table: Table, folder: Path = Path("none")) -> None:
        super().__init__(Config(folder, folder))
        self.table = table
        self.me = table.me
        self.rooms = table.rooms
        self.network = NobodyNear(table.me.dev)  # type: ignore[assignment]  # as much of one as it asks
        self.relays = Relays(folder, self.rooms, self.network, self.act)
        self.beside = Beside(
            self.config, self.me, self.rooms, self.relays, list, program="not_installed"
        )
        # Nobody drives its core: what the verbs ask of it goes to the table.
        self._shell = Shell(self.rooms, self.network, self.media.send, self._keep)
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
