"""One life of the host after another, of hosts that fail in every way."""

from contextlib import asynccontextmanager

import trio

from p2phouse.net.faults import Faults
from p2phouse.net.lives import Lives


class FailsAtItsEnd:
    """As gossip does that grafts a peer while the listener has been closed."""

    @asynccontextmanager
    async def run(self, addresses):
        async def graft():
            try:
                await trio.sleep_forever()
            finally:
                raise OSError(9, "Bad file descriptor")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(graft)
            yield


async def nothing():
    pass


async def test_a_host_that_fails_while_it_is_ended_makes_no_stop_a_fall():
    faults = Faults()
    lives = Lives(
        faults=faults,
        addresses=list,
        changed=lambda: None,
        reborn=nothing,
        died=nothing,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(lives.run, FailsAtItsEnd)
        assert lives.now is not None
        nursery.cancel_scope.cancel()
    assert lives.now is None
    assert faults.counters == {"host_ended_badly": 1}
