"""Guests who were answered and whose sound has not come yet: how many, and until when. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from p2phouse.vocabulary import LinkNumber

WAIT_S_MAX: Final = 15.0  # ICE and DTLS take 0.3 s, on a bad line 5 s; then nobody comes any more


class Waiting:
    """They are counted by network as well, but for who has shown a token."""

    def __init__(self) -> None:
        self._until: dict[LinkNumber, float] = {}  # in the order in which their time runs out
        self._networks: dict[LinkNumber, str] = {}  # of who has shown none
        self._of: Counter[str] = Counter()

    def __contains__(self, link: LinkNumber) -> bool:
        return link in self._until

    def __len__(self) -> int:
        return len(self._until)

    def add(self, now_s: float, link: LinkNumber, network: str | None) -> None:
        """network: None if a token was shown."""
        self._until[link] = now_s + WAIT_S_MAX
        if network is not None:
            self._networks[link] = network
            self._of[network] += 1

    def remove(self, link: LinkNumber) -> None:
        """It has come, or is gone; if it waited."""
        self._until.pop(link, None)
        network = self._networks.pop(link, None)
        if network is not None:
            self._of[network] -= 1
            if not self._of[network]:
                del self._of[network]

    def of(self, network: str) -> int:
        return self._of[network]

    def due(self, now_s: float) -> Iterator[LinkNumber]:
        """Each whose time is over; it has to be removed before the next is asked for."""
        while self._until and next(iter(self._until.values())) <= now_s:
            yield next(iter(self._until))
