"""Which process a guest comes to, and to which others the voices of its room go on."""

import random
from collections import defaultdict

from p2phouse.channel import (
    CloseGuestRoom,
    GuestRole,
    GuestSlots,
    LinkState,
    LinkStatus,
    Load,
    NewGuestRoom,
    OpenGuest,
    PortReady,
    SendOn,
)
from p2phouse.guest.capacity import BUSY_PERMILLE
from p2phouse.guest.resources import EMPTY_S_MAX
from p2phouse.guest.shards import MIXER, Spread, To
from p2phouse.vocabulary import LinkNumber, Ssrc
from tests.guest.test_resources import LISTEN, SPEAK, Relay

SLOTS = (Ssrc(1), Ssrc(2), Ssrc(3), Ssrc(4))


def relay(shards: int = 2) -> Relay:
    """With so many processes, of which the n-th has port 7000 + n."""
    its = Relay(ready=False)
    for shard in range(shards):
        its.says(PortReady(7_000 + shard, bytes(32)), shard)
    return its


def test_guests_are_spread_evenly_over_processes_that_have_little_to_do():
    its = relay()
    for shard in (0, 1):
        its.says(Load(10 + 30 * shard), shard)
    for _ in range(10):
        its.join(source="192.0.2.1")
    opened = [_opened(its, shard) for shard in (0, 1)]
    assert [len(each) for each in opened] == [5, 5]


def _opened(its: Relay, shard: int) -> list[OpenGuest]:
    return [each for each in its.told_by_shard.get(shard, []) if isinstance(each, OpenGuest)]


def test_who_comes_is_sent_to_the_port_of_the_process_that_expects_him():
    its = relay()
    for _ in range(2):
        _, _, answer = its.ask("POST", "/whep/tea", LISTEN)
        (shard,) = (n for n in (0, 1) if its.opened() in its.told_by_shard.get(n, []))
        assert f" {7_000 + shard} typ host" in answer


def test_the_process_with_the_least_to_do_is_chosen_and_a_crowd_is_not_sent_to_it_whole():
    its = relay()
    its.says(Load(300), 0)
    its.says(Load(100), 1)
    its.join()
    assert len(_opened(its, 1)) == 1
    for _ in range(15):
        its.says(Load(300), 0)
        its.join()
    assert len(_opened(its, 1)) == 16
    its = relay()
    its.says(Load(90), 0)
    for n in range(19):
        its.join(f"/whep/{n % 3}")
    assert (len(_opened(its, 0)), len(_opened(its, 1))) == (0, 19)


def test_nobody_is_let_in_when_all_processes_are_busy_and_somebody_when_one_is_not():
    its = relay()
    for shard in (0, 1):
        its.says(Load(BUSY_PERMILLE + 1), shard)
    assert its.ask("POST", "/whep/tea", LISTEN)[0] == 503
    its.says(Load(BUSY_PERMILLE), 1)
    its.join()
    assert len(_opened(its, 1)) == 1


def test_a_voice_goes_on_to_where_somebody_of_its_room_listens_and_nowhere_else():
    its = relay(3)
    ana = its.join("/whip/tea/ana")  # process 0
    ben, cleo = its.join(), its.join()  # 1 and 2
    assert its.told_by_shard[0][-1] == SendOn(1, (1, 2))
    its.ask("DELETE", ben)
    assert its.told_by_shard[0][-1] == SendOn(1, (2,))
    its.ask("DELETE", cleo)
    assert its.told_by_shard[0][-1] == SendOn(1, ())
    its.ask("DELETE", ana)
    its.wait(EMPTY_S_MAX)
    assert [its.told_by_shard[shard][-1] for shard in range(3)] == [CloseGuestRoom(1)] * 3


def test_a_process_is_told_of_a_room_before_somebody_of_it_comes_there():
    its = relay()
    its.join("/whip/tea/ana")
    its.join()
    for shard in (0, 1):
        told = [type(each) for each in its.told_by_shard[shard]]
        assert told.index(NewGuestRoom) < told.index(OpenGuest)
    slots = [each.slots for each in its.told if isinstance(each, NewGuestRoom)]
    assert slots[0] == slots[1]


def test_when_one_process_dies_only_its_guests_are_gone_and_who_comes_goes_to_another():
    its = relay()
    ana, ben = its.join("/whip/tea/ana"), its.join()
    dan = its.join()
    assert [len(_opened(its, shard)) for shard in (0, 1)] == [2, 1]
    its.ends(0)
    for place, status in ((ana, 404), (ben, 200), (dan, 404)):
        assert its.ask("DELETE", place)[0] == status, place
    its.join()
    its.join("/whip/tea/ana")  # its name is free
    assert [len(_opened(its, shard)) for shard in (0, 1)] == [2, 3]
    its.says(PortReady(7_000, bytes(32)), 0)
    its.join()
    assert len(_opened(its, 0)) == 3
    told = [type(each) for each in its.told_by_shard[0]]
    assert told[-3:] == [NewGuestRoom, SendOn, OpenGuest]  # the new one knew of no room


def test_who_speaks_goes_on_to_nobody_in_a_process_that_died():
    its = relay()
    its.join("/whip/tea/ana")
    its.join()
    assert its.told_by_shard[0][-1] == SendOn(1, (1,))
    its.ends(1)
    assert its.told_by_shard[0][-1] == SendOn(1, ())


def test_a_page_is_told_the_slots_of_the_process_that_it_listens_to():
    its = relay()
    its.join("/whip/tea/ana")
    its.join("/whip/tea/ben")
    cleo, dan = its.join(), its.join()
    its.says(GuestSlots(1, (LinkNumber(1), LinkNumber(2), LinkNumber(0), LinkNumber(0))), 0)
    its.says(GuestSlots(1, (LinkNumber(2), LinkNumber(1), LinkNumber(0), LinkNumber(0))), 1)
    for place, slots in ((cleo, (1, 2, 0, 0)), (dan, (2, 1, 0, 0))):
        facts = its.guests.room("tea", its.guests.shard_of(place))
        assert facts is not None
        assert facts.slots == slots
    its.ends(1)
    facts = its.guests.room("tea", its.guests.shard_of(dan))
    assert facts is not None
    assert facts.slots[0] == 1


def test_where_nodes_speak_the_room_is_while_it_is_anywhere_and_again_when_that_process_died():
    its = Spread(5, SLOTS, of=9)
    new, of_nodes = NewGuestRoom(5, SLOTS), NewGuestRoom(5, SLOTS, 9)
    sent_on = SendOn(5, (1,))
    assert its.enter(1, GuestRole.LISTENER) == [To(1, new), To(0, of_nodes), To(0, sent_on)]
    assert its.end(0) == [To(0, of_nodes), To(0, sent_on)]
    assert its.leave(1, GuestRole.LISTENER) == [To(0, SendOn(5, ()))]
    assert its.close() == [To(1, CloseGuestRoom(5)), To(0, CloseGuestRoom(5))]


def test_whoever_comes_and_goes_every_voice_goes_where_it_is_heard():
    """Against a second reckoning, from what media was told alone."""
    for seed in range(30):
        rng = random.Random(seed)
        its = relay(3)
        places: list[str] = []
        for _ in range(150):
            match rng.randrange(5):
                case 0 | 1:
                    path = rng.choice(["/whep/tea", "/whep/song", "/whip/tea/a", "/whip/song/b"])
                    body = SPEAK if "whip" in path else LISTEN
                    places.append(its.ask("POST", path, body)[1].get("location", "/"))
                    its.says(LinkState(its.opened().link, LinkStatus.CONNECTED, ""))
                case 2 if places:
                    its.ask("DELETE", places.pop(rng.randrange(len(places))))
                case 3:
                    its.says(Load(rng.randrange(600)), rng.randrange(3))
                case 4 if rng.random() < 0.2:
                    shard = rng.randrange(3)
                    its.ends(shard)
                    its.told_by_shard[shard] = []
                    its.says(PortReady(7_000 + shard, bytes(32)), shard)
            _agree(its)


def _agree(its: Relay) -> None:
    opened: dict[int, dict[int, OpenGuest]] = {}
    rooms: dict[int, dict[int, tuple[int, ...]]] = {}
    for shard, told in its.told_by_shard.items():
        opened[shard], rooms[shard] = {}, {}
        for message in told:
            match message:
                case NewGuestRoom(room):
                    rooms[shard][room] = ()
                case CloseGuestRoom(room):
                    del rooms[shard][room]
                case SendOn(room, to):
                    rooms[shard][room] = to
                case OpenGuest(link):
                    opened[shard][link] = message
                    assert message.room in rooms[shard]
                case _:
                    opened[shard].pop(message.link, None)  # type: ignore[attr-defined]  # CloseLink
    heard_in: dict[int, set[int]] = defaultdict(set)
    for shard, guests in opened.items():
        for guest in guests.values():
            if guest.role is GuestRole.LISTENER:
                heard_in[guest.room].add(shard)
    for shard, its_rooms in rooms.items():
        for room, to in its_rooms.items():
            assert set(to) == heard_in[room] - {shard}


def test_a_page_that_listens_to_none_is_told_of_the_port_where_most_do_and_not_of_the_mix():
    its = Spread(5, SLOTS)
    for shard in (MIXER, MIXER, MIXER, 1, 1, 0):
        its.enter(shard, GuestRole.LISTENER)
    assert its.fullest == 1
