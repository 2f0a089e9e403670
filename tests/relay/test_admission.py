"""Each rule by which a relay takes a room or sends it elsewhere."""

from dataclasses import replace

import pytest

from p2phouse.hall.card import make_genesis
from p2phouse.hall.relay_ask import AskCarry, Said, Verdict
from p2phouse.identity.keys import Me, make_identity
from p2phouse.record import envelope
from p2phouse.record.types import Access, Admits, GrantOf, RelayGrant
from p2phouse.vocabulary import Now, RoomId
from p2phouse_relay.admission import Admission
from p2phouse_relay.policy import Charter
from p2phouse_relay.quota import Ledger
from p2phouse_relay.traffic import GB

NOW = Now(0.0, 1_800_000_000.0)


def person(name: str) -> Me:
    seed = name.encode().ljust(32, b"\0")
    return make_identity(now=NOW, entropy=lambda size: seed[:size].ljust(size, b"x"), name=name)


RELAY, ANA, BEN, CHOIR = (person(name) for name in ("relay", "ana", "ben", "choir"))


def ask(
    host: Me = ANA,
    grant: RelayGrant | None = None,
    by: Me = CHOIR,
    access: Access = Access.OPEN,
    salt: int = 0,
) -> AskCarry:
    genesis = make_genesis(
        host, title="Tea", access=access, now=NOW, entropy=lambda size: bytes([salt]) * size
    )
    return AskCarry(genesis, (), None if grant is None else envelope.sign(grant, by.device_key))


def relay(ledger: Ledger | None = None, **charter: object) -> Admission:
    told = replace(Charter(others=("b.example:1", "c.example:1")), **charter)  # type: ignore[arg-type]
    return Admission(told, RELAY.dev, ledger or Ledger(told.rooms, told.kbps))


def grant(**other: object) -> RelayGrant:
    made = RelayGrant(
        by=CHOIR.dev,
        of=GrantOf.PERSON,
        subject=ANA.uid,
        relay=RELAY.dev,
        listeners=50,
        kbps=8_000,
        created=int(NOW.unix) - 100,
        exp=int(NOW.unix) + 3_600,
    )
    return replace(made, **other)  # type: ignore[arg-type]


def test_everybody_s_room_is_carried_where_everybody_is_admitted():
    open_relay = relay(admits=Admits.EVERYBODY, listeners=70, kbps=9_000)
    asked = ask()
    said = open_relay.decide(NOW, ANA.dev, asked)
    assert said == Said(Verdict.CARRIED, "", 70, 9_000, asked.genesis.record.exp)
    assert RoomId(asked.genesis.id) in open_relay.ledger.loads


def test_who_is_not_listed_is_sent_elsewhere_and_who_is_is_not():
    listing = relay(allow=frozenset({ANA.uid}))
    assert listing.decide(NOW, ANA.dev, ask()).verdict is Verdict.CARRIED
    refused = listing.decide(NOW, BEN.dev, ask(BEN))
    assert refused.verdict is Verdict.NOT_LISTED
    assert refused.another in listing.charter.others
    assert listing.decide(NOW, BEN.dev, ask(BEN)).another != refused.another, "each in turn"


def test_a_relay_grant_of_a_listed_key_lets_a_stranger_in_within_what_it_says():
    listing = relay(allow=frozenset({CHOIR.dev}), listeners=200, kbps=5_000)
    said = listing.decide(NOW, ANA.dev, ask(grant=grant()))
    assert said == Said(Verdict.CARRIED, "", 50, 5_000, int(NOW.unix) + 3_600)


def test_a_relay_grant_may_be_of_the_relay_s_own_key_for_one_room_or_for_any_relay():
    asked = ask()
    own = grant(by=RELAY.dev, of=GrantOf.ROOM, subject=asked.genesis.id, relay=None)
    signed = envelope.sign(own, RELAY.device_key)
    said = relay().decide(NOW, ANA.dev, replace(asked, grant=signed))
    assert said.verdict is Verdict.CARRIED


@pytest.mark.parametrize(
    "unfit",
    [
        grant(subject=BEN.uid),
        grant(of=GrantOf.ROOM),
        grant(relay=BEN.dev),
        grant(exp=int(NOW.unix) - 121),
        grant(created=int(NOW.unix) + 121),
        grant(exp=int(NOW.unix) + 400 * 86_400),
    ],
)
def test_a_relay_grant_for_somebody_or_something_else_or_another_time_is_none(unfit):
    listing = relay(allow=frozenset({CHOIR.dev}), admits=Admits.EVERYBODY)
    assert listing.decide(NOW, ANA.dev, ask(grant=unfit)).verdict is Verdict.GRANT_UNFIT


def test_a_relay_grant_of_a_key_that_is_not_listed_is_none():
    assert relay().decide(NOW, ANA.dev, ask(grant=grant())).verdict is Verdict.GRANT_UNFIT


@pytest.mark.parametrize("denied", [ANA.uid, ANA.dev, CHOIR.dev])
def test_who_is_denied_is_refused_with_any_relay_grant(denied):
    """Security: by person, by device, or by whose relay grant it is."""
    keys = frozenset({denied})
    listing = relay(allow=frozenset({ANA.uid, CHOIR.dev}), deny=keys, admits=Admits.EVERYBODY)
    assert listing.decide(NOW, ANA.dev, ask(grant=grant())).verdict is Verdict.DENIED


def test_nobody_asks_for_the_room_of_another():
    """Security: a card holds the genesis, and anybody may have seen it."""
    said = relay(admits=Admits.EVERYBODY).decide(NOW, BEN.dev, ask(ANA))
    assert said.verdict is Verdict.NOT_THE_HOST


def test_a_room_that_is_over_or_for_one_network_is_carried_nowhere():
    open_relay = relay(admits=Admits.EVERYBODY)
    later = Now(0.0, NOW.unix + 43_201)
    assert open_relay.decide(later, ANA.dev, ask()).verdict is Verdict.ROOM_UNFIT
    lan = ask(access=Access.LAN)
    assert open_relay.decide(NOW, ANA.dev, lan).verdict is Verdict.ROOM_UNFIT
    record = replace(ask().genesis.record, exposure="relay")
    unknown = AskCarry(envelope.sign(record, ANA.device_key), (), None)
    assert open_relay.decide(NOW, ANA.dev, unknown).verdict is Verdict.ROOM_UNFIT


def test_of_one_person_so_many_rooms_are_carried_and_asking_again_is_not_one_more():
    open_relay = relay(admits=Admits.EVERYBODY, rooms_each=2)
    for salt in (1, 2, 2, 1):
        assert open_relay.decide(NOW, ANA.dev, ask(salt=salt)).verdict is Verdict.CARRIED
    assert open_relay.decide(NOW, ANA.dev, ask(salt=3)).verdict is Verdict.TOO_MANY
    assert open_relay.decide(NOW, BEN.dev, ask(BEN, salt=3)).verdict is Verdict.CARRIED


def test_a_relay_grant_whose_rooms_send_what_it_allows_has_no_room_more():
    listing = relay(allow=frozenset({CHOIR.dev}), rooms_each=5)
    first = ask(grant=grant(), salt=1)
    listing.decide(NOW, ANA.dev, first)
    listing.ledger.measured(RoomId(first.genesis.id), listeners=9, kbps=7_200)
    said = listing.decide(NOW, ANA.dev, ask(grant=grant(), salt=2))
    assert said.verdict is Verdict.TOO_MANY


def test_at_nine_tenths_of_its_rooms_a_relay_takes_no_more():
    open_relay = relay(admits=Admits.EVERYBODY, rooms=10, rooms_each=100)
    for salt in range(9):
        assert open_relay.decide(NOW, ANA.dev, ask(salt=salt)).verdict is Verdict.CARRIED
    assert open_relay.decide(NOW, ANA.dev, ask(salt=9)).verdict is Verdict.FULL


def test_at_nine_tenths_of_what_it_may_send_a_relay_takes_no_more():
    open_relay = relay(admits=Admits.EVERYBODY, kbps=1_000)
    first = ask(salt=1)
    open_relay.decide(NOW, ANA.dev, first)
    open_relay.ledger.measured(RoomId(first.genesis.id), listeners=5, kbps=900)
    assert open_relay.decide(NOW, BEN.dev, ask(BEN)).verdict is Verdict.FULL
    assert open_relay.decide(NOW, ANA.dev, first).verdict is Verdict.CARRIED


def test_a_month_that_is_nearly_spent_has_no_room_more_and_those_carried_go_on():
    open_relay = relay(admits=Admits.EVERYBODY)
    first = ask(salt=1)
    open_relay.decide(NOW, ANA.dev, first)
    open_relay.ledger.traffic.gb_max = 10
    open_relay.ledger.traffic.add(NOW, 9 * GB)
    refused = open_relay.decide(NOW, BEN.dev, ask(BEN))
    assert refused.verdict is Verdict.SPENT
    assert refused.another
    assert open_relay.decide(NOW, ANA.dev, first).verdict is Verdict.CARRIED


def test_whoever_has_had_a_month_s_share_has_no_room_more_and_another_has():
    open_relay = relay(admits=Admits.EVERYBODY)
    open_relay.ledger.traffic.gb_each_max = 1
    open_relay.ledger.traffic.add(NOW, GB, of=ANA.uid)
    assert open_relay.decide(NOW, ANA.dev, ask()).verdict is Verdict.SPENT
    assert open_relay.decide(NOW, BEN.dev, ask(BEN)).verdict is Verdict.CARRIED


def test_a_relay_whose_media_is_busy_takes_no_more():
    open_relay = relay(admits=Admits.EVERYBODY)
    open_relay.load_permille = 700
    assert open_relay.decide(NOW, ANA.dev, ask()).verdict is Verdict.FULL
    open_relay.load_permille = 699
    assert open_relay.decide(NOW, ANA.dev, ask()).verdict is Verdict.CARRIED


def test_a_relay_that_drains_takes_nothing_new_and_keeps_its_word_to_the_rest():
    open_relay = relay(admits=Admits.EVERYBODY)
    first = ask(salt=1)
    open_relay.decide(NOW, ANA.dev, first)
    open_relay.drains = True
    assert open_relay.decide(NOW, ANA.dev, first).verdict is Verdict.CARRIED
    refused = open_relay.decide(NOW, BEN.dev, ask(BEN))
    assert refused.verdict is Verdict.DRAINING
    assert refused.another


def test_who_stands_on_a_network_for_its_rooms_carries_these_and_no_others():
    near = relay(admits=Admits.EVERYBODY, near=True)
    assert near.decide(NOW, ANA.dev, ask(access=Access.LAN)).verdict is Verdict.CARRIED
    assert near.decide(NOW, ANA.dev, ask()).verdict is Verdict.ROOM_UNFIT
    far = relay(admits=Admits.EVERYBODY)
    assert far.decide(NOW, ANA.dev, ask(access=Access.LAN)).verdict is Verdict.ROOM_UNFIT
