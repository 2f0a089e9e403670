"""What the engine makes of a network without UDP."""

import asyncio

from p2phouse import channel
from p2phouse.channel import LinkRole, LinkStatus
from p2phouse.engine import Engine
from p2phouse.link import ice
from p2phouse.link.link import Description
from p2phouse.vocabulary import LinkNumber
from tests.link.test_link import run
from tests.link.test_websocket import NOWHERE, relay


def test_where_a_link_had_to_go_round_the_next_is_not_held_up_and_control_knows(
    tmp_path, monkeypatch
):
    async def test(make):
        told: asyncio.Queue[channel.Up] = asyncio.Queue()

        async def say(kind):
            async with asyncio.timeout(10):
                while not isinstance(message := await told.get(), kind):
                    pass
            return message

        monkeypatch.setattr(ice, "UDP_FIRST_S", 0.0)
        engine = Engine(told.put_nowait, loopback_only=True)
        running = asyncio.ensure_future(engine.run())
        async with relay(tmp_path, monkeypatch) as its:
            for number in (LinkNumber(1), LinkNumber(2)):
                ana = make(number, LinkRole.OFFERER)
                to_ana = await ana.link.open()
                its.to = int(to_ana.cands[0].split()[5])
                engine.perform(channel.OpenLink(number, LinkRole.ANSWERER, False))
                ben = await say(channel.LocalDescription)
                hidden = Description(ben.ufrag, ben.pwd, ben.fp, (NOWHERE,))
                calling = asyncio.ensure_future(ana.link.connect(hidden))
                engine.perform(
                    channel.ConnectLink(
                        number, to_ana.ufrag, to_ana.pwd, to_ana.fp, (its.entrance,), is_relay=True
                    )
                )
                state = await say(channel.LinkState)
                assert (state.status, state.is_tunnelled) == (LinkStatus.CONNECTED, True)
                await calling
                monkeypatch.setattr(ice, "UDP_FIRST_S", 60.0)  # longer than ICE may take
            running.cancel()
            await asyncio.wait([running])

    run(test)
