"""Relays that the person named: how they are found, and what they alone may know."""

import random
from ipaddress import ip_address

import pytest
import trio

from p2phouse.config import NamedRelay
from p2phouse.errors import LinkError
from p2phouse.net.addresses import Address, Circuit, pack
from p2phouse.net.hello import NobodyAnswers
from p2phouse.net.named_relays import AGAIN_S, NamedRelays, NotThroughRelay, RelaysAlone
from p2phouse.net.nat import Nat
from p2phouse.record.types import Hello
from p2phouse.vocabulary import DeviceKey
from tests.net.conftest import clock

ANA, RELAY, BEN = (DeviceKey(bytes([number]) * 32) for number in (1, 2, 3))
NAMED = NamedRelay("relay.example", 17_472)
AT, ALSO, ELSEWHERE = (Address(ip_address(f"5.9.1.{n}"), 17_472) for n in (1, 2, 3))


class Named(NamedRelays):
    """With what it keeps in touch with, and a relay that answers after `silences` questions."""

    def __init__(self, *, alone, dev=RELAY, silences=0, named=NAMED):
        self.kept: list[tuple[DeviceKey, list[Address]]] = []
        self.asked_at: list[float] = []

        async def hello(host, port):
            self.asked_at.append(trio.current_time())
            if len(self.asked_at) <= silences:
                raise NobodyAnswers(host=host, port=port)
            return Hello(nonce=bytes(64), versions=(1, 1), dev=dev, addrs=(pack(AT), pack(ALSO)))

        super().__init__(
            ANA,
            [named],
            alone=alone,
            hello=hello,
            keep=lambda dev, addresses: self.kept.append((dev, list(addresses))),
        )


def allows(named, way):
    try:
        named.check(way)
    except NotThroughRelay:
        return False
    return True


async def test_a_relay_is_kept_in_touch_with_at_all_the_addresses_it_tells():
    named = Named(alone=False)
    await named.run()
    assert named.kept == [(RELAY, [AT, ALSO])]
    assert named.devs == {RELAY}


async def test_a_relay_that_is_away_is_asked_again_ever_less_often(autojump_clock):
    named = Named(alone=False, silences=3)
    await named.run()
    first, *later = named.asked_at
    assert [at - first for at in later] == pytest.approx([AGAIN_S, 3 * AGAIN_S, 7 * AGAIN_S])
    assert named.kept


async def test_a_node_that_is_named_as_its_own_relay_is_none():
    named = Named(alone=True, dev=ANA)
    await named.run()
    assert not named.kept
    assert not named.may_link(ANA)


@pytest.mark.parametrize("alone", [False, True])
def test_a_relay_added_later_is_kept_in_touch_with_by_who_does_not_hide(alone):
    # Security: who alone may know where we are was said when the node was started.
    named = Named(alone=alone)
    named.add(BEN, [ELSEWHERE])
    named.add(ANA, [AT])  # ourselves
    assert named.kept == ([] if alone else [(BEN, [ELSEWHERE])])
    assert named.devs == (set() if alone else {BEN})
    assert named.may_link(BEN) is not alone


async def test_who_hides_behind_relays_takes_ways_that_the_person_named_and_no_other():
    # Security: addresses come from strangers; each that is dialled learns where we are.
    named = Named(alone=True)
    before = Circuit(AT, RELAY)
    assert not allows(named, AT)
    assert not allows(named, before), "nobody has proved yet to be that relay"
    await named.run()
    assert named.kept == [(RELAY, [AT])], "the rest is what it says of itself"
    assert allows(named, AT)
    assert allows(named, Circuit(AT, RELAY))
    assert allows(named, Address(ip_address("127.0.0.1"), 1)), "this machine knows where it is"
    assert not allows(named, ALSO)
    assert not allows(named, ELSEWHERE)
    assert not allows(named, Address(AT.ip, 1))
    assert not allows(named, Circuit(AT, BEN))


async def test_who_hides_behind_relays_links_with_them_alone():
    named = Named(alone=True)
    assert not named.may_link(RELAY)
    await named.run()
    assert named.may_link(RELAY)
    assert not named.may_link(BEN)


async def test_who_hides_behind_relays_asks_nobody_else_who_they_are():
    named = Named(alone=True)
    named.check_typed("relay.example", 17_472)
    for host, port in (("relay.example", 17_473), ("other.example", 17_472)):
        with pytest.raises(RelaysAlone, match=f"{host}:{port} is none of them"):
            named.check_typed(host, port)


async def test_who_hides_from_nobody_goes_anywhere():
    named = Named(alone=False)
    assert allows(named, ELSEWHERE)
    assert allows(named, Circuit(ELSEWHERE, BEN))
    assert named.may_link(BEN)
    named.check_typed("other.example", 1)


async def test_where_a_named_relay_is_no_stranger_s_record_says():
    # Security: eight of them would push out the address that the person gave.
    named = Named(alone=False)
    await named.run()
    assert named.told_at(Circuit(ELSEWHERE, RELAY)) == []
    assert named.told_at(Circuit(ELSEWHERE, BEN)) == [ELSEWHERE]


async def test_who_hides_behind_relays_asks_for_a_place_at_no_other_however_public():
    # Security: a place at a stranger's would have everybody come to us through the stranger.
    asked = []

    async def reserve(dev):
        asked.append(dev)
        raise LinkError(reason="full")

    named = Named(alone=True)
    await named.run()
    nat = Nat(
        clock=clock,
        rng=random.Random(1),
        peers=lambda: [(BEN, ELSEWHERE), (RELAY, AT)],
        reserve=reserve,
        named=named.devs,
        named_only=True,
    )
    await nat._look()
    assert asked == [RELAY]
