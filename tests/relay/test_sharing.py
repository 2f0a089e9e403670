"""A room of nodes on two relays: for whom one has no place listens at the other."""

import os
from dataclasses import replace

import trio

from p2phouse.drive import clock
from p2phouse.guest.facts import NodeRoom
from p2phouse.hall.invitation import room_text
from p2phouse.identity.keys import make_identity
from p2phouse.room import messages
from p2phouse.vocabulary import UserKey
from p2phouse_relay import policy
from p2phouse_relay.others import Others
from p2phouse_relay.policy import Charter
from p2phouse_relay.sharing import share
from tests.guest.test_http import certificate
from tests.guest.test_resources import ANYBODY, LISTEN
from tests.guest.test_resources import Relay as Front
from tests.net.test_well_known import answer, site
from tests.relay.test_carrying import OPEN, give, people, relay
from tests.waits import until


async def test_a_guest_is_a_listener_of_the_room_and_is_sent_to_a_relay_that_it_names(tmp_path):
    few = replace(OPEN, listeners=10)
    async with (
        relay(tmp_path, few) as its,
        relay(tmp_path) as other,
        people(tmp_path, "ana") as (ana,),
    ):
        await ana.shell.act(messages.Open("Tea"))
        await give(ana, its)
        await give(ana, other)
        await until(lambda: bool(its.stays), "it carries the room")
        (stay,) = its.stays.values()
        await until(
            lambda: (
                stay.shell.rooms.membership is not None
                and other.me.uid in stay.shell.rooms.membership.log.state.relays
            ),
            "the room names both",
        )
        name, front = room_text(stay.room), Front(replace(ANYBODY, rooms={}, waiting_max=100))
        front.guests.carry(name, NodeRoom("Tea", "open"), 1)
        elsewhere = {
            other.me.uid: "https://b.example",
            UserKey(os.urandom(32)): "https://c.example",
        }
        for _ in range(9):
            share(its, front.guests, elsewhere)
            front.join(f"/whep/{name}")
        share(its, front.guests, elsewhere)
        assert its.ledger.loads[stay.room].guests == 9
        status, headers, _ = front.ask("POST", f"/whep/{name}", LISTEN)
        assert (status, headers["location"]) == (307, f"https://b.example/whep/{name}?sent-on")
        share(its, front.guests, {})
        front.join(f"/whep/{name}")
        share(its, front.guests, {})
        assert front.ask("POST", f"/whep/{name}", LISTEN)[0] == 503


async def test_a_relay_learns_which_key_is_behind_the_address_of_another(tmp_path, monkeypatch):
    """Security: a site that is no relay, or not its name's, leads no guest anywhere."""
    serving, _ = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    me = make_identity(now=clock(), entropy=os.urandom, name="B")
    card = policy.card(Charter(), me, at=(), now=clock()).data
    async with site(serving, answer(card)) as good, site(serving, answer(b"no")) as bad:
        pages = [f"https://localhost:{good}", f"https://127.0.0.1:{good}"]
        others = Others([pages[0] + "/", pages[1], f"https://localhost:{bad}", "b.example:17472"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(others.run)
            await until(lambda: bool(others.pages), "it has looked")
            nursery.cancel_scope.cancel()
    assert others.pages == {me.uid: pages[0]}
