"""Looking for nodes nearby, which may fail and ends nothing."""

import os
import random
from collections.abc import Sequence

import pytest
import trio

from p2phouse.net.addresses import Address, Interface
from p2phouse.net.events import Trouble
from p2phouse.net.faults import Faults
from p2phouse.net.hello import HelloAnswerer
from p2phouse.net.nearby import Nearby
from tests.net.conftest import clock, signing_key


class Standing:
    """Ground that is wherever the test says."""

    port = 17_472
    addresses: Sequence[Address] = ()

    def __init__(self, *interfaces):
        self.interfaces = list(interfaces)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # zeroconf's, when it fails
async def test_what_keeps_us_from_hearing_a_network_is_told_and_forgotten_in_the_next(
    tmp_path, nursery
):
    tell, told = trio.open_memory_channel[Trouble](1)

    async def nobody(dev, addresses, where):
        raise AssertionError("nobody is there")

    ground, faults = Standing(Interface.of("10.255.77.1", 24)), Faults()  # of no machine
    nearby = Nearby(
        lan="on",
        runtime_dir=tmp_path,
        ground=ground,  # type: ignore[arg-type]  # all that is asked of one
        found=nobody,
        connected=lambda dev: False,
        emit=tell.send,  # type: ignore[arg-type]  # nothing else is told here
        rng=random.Random(1),
        entropy=os.urandom,
        faults=faults,
    )
    answerer = HelloAnswerer(signing_key(1), addrs=list, clock=clock, faults=faults)
    nursery.start_soon(nearby.run, answerer)
    with trio.fail_after(10):
        assert (await told.receive()).text == nearby.trouble
    ground.interfaces = []
    nearby.moved()
    with trio.fail_after(10):
        while nearby.trouble:  # noqa: ASYNC110 - read by the doctor, who is asked at any time
            await trio.sleep(0.02)
    assert nearby.heard == (0, 0)
    nursery.cancel_scope.cancel()
