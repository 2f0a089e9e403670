"""Real hosts on loopback that meet through a third of them."""

import random
from ipaddress import ip_address

import pytest
import trio

from p2phouse.config import NamedRelay
from p2phouse.errors import LinkError
from p2phouse.net import life
from p2phouse.net.addresses import Address, Circuit, pack, unpack_way
from p2phouse.net.cards import Judgement, Verdict
from p2phouse.net.events import DialFailed, OfferHeard, PeerUp, RoomClosed, RoomFrame, RoomOpen
from p2phouse.net.ground import Ground
from p2phouse.net.hello import NobodyAnswers
from p2phouse.net.named_relays import RelaysAlone
from p2phouse.net.nat import RESERVATION_S, Nat
from p2phouse.vocabulary import DeviceKey, Now
from tests.net.conftest import addrs_are, clock
from tests.net.test_life import raise_inside
from tests.net.test_network import ROOM, greeting


class PublicGround(Ground):
    """Loopback, taken for the internet."""

    is_public = True


def public_ground():
    return PublicGround("loopback")


async def until(holds):
    with trio.fail_after(15):
        while not holds():  # noqa: ASYNC110 - of many things, few of which have an event
            await trio.sleep(0.02)


def circuits(node):
    return [addr for addr in node.network.addrs if addr.endswith(b"\xa2\x02")]


def relays_of(*relays):
    return [NamedRelay("127.0.0.1", relay.network.port) for relay in relays]


async def test_two_meet_through_a_third_and_talk_as_if_they_had_dialled(make_node):
    async with make_node(3, ground=public_ground()) as relay:
        named = relays_of(relay)
        async with make_node(1, relays=named) as ana, make_node(2, relays=named) as ben:
            await until(lambda: circuits(ana) and circuits(ben))
            (way,) = circuits(ben)
            assert len(way) == 51
            seen = await ana.network.examine(apart=lambda outside: [])
            assert (seen.relays_named, seen.relays_found, seen.relays) == (1, 1, 1)
            assert (seen.here_peers, seen.near_peers, seen.far_peers) == (1, 0, 0)
            assert unpack_way(way) == Circuit(
                Address(ip_address("127.0.0.1"), relay.network.port), relay.dev
            )
            ana.network.dial(ben.dev, [way])
            assert (await ana.next(PeerUp, dev=ben.dev)).addrs == (way,)
            await ben.next(PeerUp, dev=ana.dev)

            ana.network.open_room(ben.dev, ROOM, [way])
            opened = await ana.next(RoomOpen)
            assert not opened.near, "only the relay is near"
            ana.network.send_room(ben.dev, ROOM, greeting(ana))
            assert not (await ben.next(RoomOpen)).near
            await ben.next(RoomFrame)
            async with trio.open_nursery() as nursery:

                async def answer():
                    offer = await ben.next(OfferHeard)
                    offer.reply(b"answer to " + offer.data)

                nursery.start_soon(answer)
                assert await ana.network.signal(ben.dev, b"offer") == b"answer to offer"


async def test_a_question_s_end_closes_no_connection_that_a_circuit_runs_over(
    make_node, monkeypatch
):
    monkeypatch.setattr(life, "COMPANY", -1)
    async with make_node(3, ground=public_ground()) as relay:
        named = relays_of(relay)
        async with make_node(1) as ana, make_node(2, relays=named) as ben:
            await until(lambda: circuits(ben))
            ana.network.dial(ben.dev, circuits(ben))
            await ana.next(PeerUp, dev=ben.dev)
            dropped: list[DeviceKey] = []
            for node in (ana, relay):
                host = node.network._life.host
                monkeypatch.setattr(host, "near", lambda dev: False)
                monkeypatch.setattr(host, "drop", dropped.append)
            relay.network._life.release(ana.dev)
            relay.network._life.release(ben.dev)
            ana.network._life.release(relay.dev)
            assert not dropped
            ana.network._life.release(ben.dev)
            assert dropped == [ben.dev], "whom nobody needs"


async def test_a_stranger_s_address_of_a_named_relay_is_not_taken(make_node, monkeypatch):
    # Security: eight of them would push out the one that the person gave.
    async with make_node(3, ground=public_ground()) as relay:
        named = relays_of(relay)
        async with make_node(1, relays=named) as ana, make_node(2) as ben:
            await until(lambda: circuits(ana))
            asked = []
            reach = ana.network._dialer.reach

            async def watched(dev, addresses):
                asked.append((dev, list(addresses)))
                await reach(dev, addresses)

            monkeypatch.setattr(ana.network._dialer, "reach", watched)
            elsewhere = Address(ip_address("10.99.0.2"), 9)
            ana.network.dial(ben.dev, [pack(Circuit(elsewhere, relay.dev))])
            await ana.next(DialFailed, dev=ben.dev)
            assert asked == [(relay.dev, [])]


async def test_a_circuit_that_is_not_waited_for_any_more_is_let_go(make_node, monkeypatch):
    async with make_node(3, ground=public_ground()) as relay:
        named = relays_of(relay)
        async with make_node(1, relays=named) as ana, make_node(2, relays=named) as ben:
            await until(lambda: circuits(ana) and circuits(ben))
            host = ana.network._life.host

            async def stuck(raw, peer_id):
                stands.set()
                await trio.sleep_forever()

            stands = trio.Event()
            monkeypatch.setattr(host._swarm, "upgrade_outbound_raw_conn", stuck)
            way = unpack_way(circuits(ben)[0])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(host.dial_through, ben.dev, way)
                await stands.wait()
                assert relay.network._life.relay.circuits == 1
                nursery.cancel_scope.cancel()
            await until(lambda: not relay.network._life.relay.circuits)


async def test_a_place_that_is_lost_while_it_is_renewed_ends_nothing(monkeypatch):
    relay = DeviceKey(b"\x77" * 32)
    changes: list[int] = []
    renewals: list[DeviceKey] = []
    now = Now(1_000.0, 10**9)

    async def reserve(dev):
        if nat.circuits:
            renewals.append(dev)
            nat.lost(dev)
            raise LinkError(reason="it hung up")
        return 0  # by the relay's clock, which is wrong

    nat = Nat(
        clock=lambda: now,
        rng=random.Random(1),
        peers=lambda: [(relay, Address(ip_address("5.9.1.2"), 1))],
        reserve=reserve,
        changed=lambda: changes.append(len(nat.circuits)),
    )
    await nat._look()
    await nat._look()
    assert not renewals, "it has an hour by our own clock, whatever the relay's says"
    now = Now(now.mono + RESERVATION_S - 1, now.unix)
    await nat._look()
    assert renewals == [relay]
    assert changes == [1, 0]


async def test_a_lan_room_s_records_do_not_leave_through_a_relay(make_node):
    def near_only(data, now):
        return Judgement(Verdict.TELL_NEAR, ROOM, until_unix=now.unix + 600)

    async with make_node(3, ground=public_ground()) as relay:
        named = relays_of(relay)
        async with (
            make_node(1, relays=named, judge=near_only) as ana,
            make_node(2, relays=named) as ben,
        ):
            await until(lambda: circuits(ben))
            await ana.network.publish_card(b"card of a lan room")
            ana.network.dial(ben.dev, circuits(ben))
            await ana.next(PeerUp, dev=ben.dev)
            ana.network.open_room(ben.dev, ROOM, circuits(ben))
            assert (await ana.next(RoomClosed)).room == ROOM


async def test_a_relay_that_comes_back_is_held_again(make_node):
    async with make_node(3, ground=public_ground()) as relay:
        port, key = relay.network.port, relay.key
        async with make_node(1, relays=[NamedRelay("127.0.0.1", port)]) as ana:
            await addrs_are(ana, lambda addrs: circuits(ana))
            ana.network._life.host.drop(relay.dev)
            await addrs_are(ana, lambda addrs: not circuits(ana))
            await addrs_are(ana, lambda addrs: circuits(ana))
            assert key is relay.key


async def test_nobody_is_told_of_a_circuit_that_went_with_the_host(make_node):
    async with (
        make_node(3, ground=public_ground()) as relay,
        make_node(1, relays=relays_of(relay)) as ana,
    ):
        await addrs_are(ana, lambda addrs: circuits(ana))
        raise_inside(ana.network._life.host)
        await addrs_are(ana, lambda addrs: not circuits(ana))
        await addrs_are(ana, lambda addrs: circuits(ana))


async def test_who_lets_nobody_through_is_no_relay(make_node):
    async with (
        make_node(3, ground=public_ground(), carries=lambda: False) as relay,
        make_node(1, relays=relays_of(relay)) as ana,
    ):
        await ana.next(PeerUp, dev=relay.dev)
        await until(lambda: relay.dev in ana.network.nat.refused)
        assert not circuits(ana)


async def test_who_cannot_be_dialled_is_no_relay(make_node):
    async with make_node(3) as relay, make_node(1, relays=relays_of(relay)) as ana:
        await ana.next(PeerUp, dev=relay.dev)
        await until(lambda: relay.dev in ana.network.nat.refused)
        assert not circuits(ana)


async def test_nobody_is_reached_through_a_relay_that_does_not_know_them(make_node):
    async with (
        make_node(3, ground=public_ground()) as relay,
        make_node(1, relays=relays_of(relay)) as ana,
        make_node(2) as ben,
    ):
        await until(lambda: circuits(ana))
        ana.network.dial(ben.dev, circuits(ana))
        assert "not there" in (await ana.next(DialFailed, dev=ben.dev)).reason


async def test_a_peer_that_is_no_relay_of_ours_cannot_put_itself_between(make_node):
    # Security: it could wear us out with calls, or learn whom we talk to.
    async with make_node(3, ground=public_ground()) as relay, make_node(2) as ben:
        relay.network.dial(ben.dev, ben.network.addrs)
        await relay.next(PeerUp, dev=ben.dev)
        life = relay.network._life
        life.relay._reserved[ben.dev] = clock().mono + 60  # as if ben had asked
        async with make_node(1, relays=relays_of(relay)) as ana:
            await until(lambda: circuits(ana))
            ana.network.dial(ben.dev, circuits(ana))
            assert "does not answer" in (await ana.next(DialFailed, dev=ben.dev)).reason


@pytest.mark.parametrize("given", [["10.0.0.1"], ["100.64.0.1"]])
async def test_only_a_public_address_makes_a_relay_that_nobody_named(given):
    asked = []

    async def reserve(dev):
        asked.append(dev)
        return 10**10

    def peers():
        private = [(bytes([n]) * 32, Address(ip_address(ip), 1)) for n, ip in enumerate(given)]
        return [*private, (b"\x77" * 32, Address(ip_address("5.9.1.2"), 1))]

    nat = Nat(clock=clock, rng=random.Random(1), peers=peers, reserve=reserve)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(nat.run)
        nat.met()
        await until(lambda: nat.circuits)
        nursery.cancel_scope.cancel()
    assert asked == [b"\x77" * 32]


# ── who shows the address to relays alone ────────────────────────────────────────────────────


async def test_who_shows_the_address_to_relays_alone_dials_nobody_else(make_node, monkeypatch):
    # Security: addresses come from strangers, also such as claim to be our relay's.
    dialled = []
    async with make_node(3, ground=public_ground()) as relay, make_node(2) as ben:
        named = relays_of(relay)
        async with make_node(1, relays=named, relay_only=True) as ana:
            await until(lambda: circuits(ana))
            assert ana.network.addrs == circuits(ana), "no record names where ana is"
            dial = ana.network._life.host.dial

            async def watched(dev, address):
                dialled.append(str(address.ip))
                await dial(dev, address)

            monkeypatch.setattr(ana.network._life.host, "dial", watched)
            far, relay_elsewhere = (
                Address(ip_address(ip), relay.network.port) for ip in ("10.99.0.1", "10.99.0.2")
            )
            for ways in (
                [pack(far)],
                [pack(Circuit(relay_elsewhere, ben.dev))],
                [pack(Circuit(relay_elsewhere, relay.dev))],
            ):
                ana.network.dial(ben.dev, ways)
                await ana.next(DialFailed, dev=ben.dev)
            ana.network.dial(relay.dev, [pack(relay_elsewhere)])
            with pytest.raises(RelaysAlone, match="none of them"):
                await ana.network.hello("10.99.0.1", 17_472)
            assert not ana.network.may_link(ben.dev)
            assert ana.network.may_link(relay.dev)
            assert ana.network.reflectors == []
            assert not set(dialled) - {"127.0.0.1"}


async def test_a_relay_whose_key_is_known_need_not_be_asked_who_it_is(make_node, monkeypatch):
    async def blocked(*unused, **unused_too):
        raise NobodyAnswers(host="127.0.0.1", port=1)

    async with make_node(3, ground=public_ground()) as relay:
        monkeypatch.setattr("p2phouse.net.network.ask_hello", blocked)
        named = NamedRelay("127.0.0.1", relay.network.port, relay.dev)
        async with make_node(1, relays=[named]) as ana:
            await until(lambda: circuits(ana))
