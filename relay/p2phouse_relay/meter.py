"""What the relay has sent this month, as it runs: counted (traffic.py) and kept in its home."""

import logging
from pathlib import Path
from typing import Final

import trio

from p2phouse.identity.keyfile import FileNotWritten
from p2phouse_relay import traffic
from p2phouse_relay.policy import Charter
from p2phouse_relay.traffic import Traffic

log = logging.getLogger(__name__)

KEEP_EACH_S: Final = 15.0  # what a crash may forgive


class Meter:
    """`run` keeps it. unkept: why the last time failed; empty if it did not."""

    def __init__(self, home: Path | None, charter: Charter) -> None:
        """home: None in a trial, which keeps nothing. Raises TrafficDamaged."""
        self.traffic = Traffic() if home is None else traffic.read(home)
        self.traffic.gb_max = charter.gb_month
        self.traffic.gb_each_max = charter.gb_month_each
        self.unkept = ""
        self._home = home
        self._kept = b""

    async def run(self) -> None:
        """Until cancelled; and once more then."""
        try:
            while True:
                await self.keep()
                await trio.sleep(KEEP_EACH_S)
        finally:
            with trio.CancelScope(shield=True):
                await self.keep()

    async def keep(self) -> None:
        """A disk that is full ends no relay: it goes on counting, and says so."""
        written = self.traffic.written()
        if self._home is None or written == self._kept:
            return
        try:
            await trio.to_thread.run_sync(traffic.write, self._home, written)
        except FileNotWritten as error:
            if not self.unkept:
                log.error("traffic_not_kept error=%s", error)
            self.unkept = str(error.facts["reason"])
        else:
            self._kept, self.unkept = written, ""

    @property
    def permille(self) -> int:
        """Of what may be sent in a month; 0 if anything may."""
        octets, most = self.traffic.used()
        return 1_000 * octets // most if most else 0
