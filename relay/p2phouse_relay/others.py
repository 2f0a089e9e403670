"""The relays that this one names in its place, by their web addresses: which key each has.

A room of nodes that names two relays can be listened to at both, so guests for whom one has no
place go to the other. Which of those named is behind which address only its own site says.
"""

import logging
from collections.abc import Sequence
from typing import Final

import trio

from p2phouse.errors import P2PHouseError
from p2phouse.net import well_known
from p2phouse.record import envelope
from p2phouse.record.types import Policy
from p2phouse.relays import HTTPS, HTTPS_PORT, address_of
from p2phouse.vocabulary import UserKey

log = logging.getLogger(__name__)

LOOK_EACH_S: Final = 600.0  # they change once in years, and may be away for an hour


class Others:
    """`pages` is where each was found. `run` looks."""

    def __init__(self, named: Sequence[str]) -> None:
        self.pages: dict[UserKey, str] = {}
        self._named = [each.rstrip("/") for each in named if each.startswith(HTTPS)]

    async def run(self) -> None:
        """Until cancelled."""
        while self._named:
            for page in self._named:
                await self._look(page)
            await trio.sleep(LOOK_EACH_S)

    async def _look(self, page: str) -> None:
        try:
            host, port = address_of(page.removeprefix(HTTPS), HTTPS_PORT)
            policy = envelope.read(await well_known.fetch(host, port), Policy)
        except P2PHouseError as error:
            log.info("other_relay_away error=%s", type(error).__name__)
        else:
            self.pages[UserKey(policy.record.uid)] = page
