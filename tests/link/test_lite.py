"""ICE-lite by its datagrams: who is answered, who is believed, and who is asked back."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from aioice import stun

from p2phouse.link.lite import (
    ARRIVAL_S_MAX,
    ASK_EACH_S,
    ASKS_MAX,
    ASKS_OF_NEW_MAX,
    CHECKS_PER_S_MAX,
    CONSENT_S_MAX,
    KNOCKS_AT_MAX,
    REFUSALS_PER_S,
    REFUSALS_PER_S_OF_NETWORK,
    WAYS_MAX,
    Answer,
    Chosen,
    Credentials,
    Expired,
    Lite,
    LiteOutput,
    Seen,
    Way,
)
from p2phouse.vocabulary import LinkNumber
from tests.link.browser import check, credentials

ANA, BEN = LinkNumber(1), LinkNumber(2)
OURS, OURS_2 = credentials("ours"), credentials("also-ours")
THEIRS, THEIRS_2 = credentials("theirs"), credentials("also-theirs")
HOME = Way(0, ("192.0.2.1", 4_000))
ROAD = Way(0, ("198.51.100.7", 5_000))


@dataclass
class Here:
    lite: Lite = field(default_factory=lambda: Lite(os.urandom))
    now_s: float = 100.0

    def expect(
        self, link: LinkNumber = ANA, ours: Credentials = OURS, theirs: Credentials = THEIRS
    ) -> None:
        assert self.lite.expect(self.now_s, link, ours, theirs)

    def hear(self, data: bytes, way: Way = HOME) -> list[LiteOutput]:
        return list(self.lite.receive(self.now_s, data, way))

    def comes(
        self, way: Way = HOME, *, nominate: bool = True, controlling: bool = True
    ) -> list[LiteOutput]:
        data = check(THEIRS, OURS, nominate=nominate, controlling=controlling)
        return self.hear(data, way)

    def after(self, seconds: float) -> list[LiteOutput]:
        self.now_s += seconds
        return self.lite.tick(self.now_s)


@pytest.fixture
def here() -> Here:
    return Here()


def messages(outputs: list[LiteOutput], way: Way = HOME) -> list[stun.Message]:
    sent = [each for each in outputs if isinstance(each, Answer)]
    assert {each.way for each in sent} <= {way}
    return [stun.parse_message(each.data) for each in sent]


def shortest_check() -> bytes:
    """That nominates, and has nothing that we can do without."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{OURS.ufrag}:{THEIRS.ufrag}"
    message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(OURS.pwd.encode())
    del message.attributes["FINGERPRINT"]
    return bytes(message)


def answer(question: stun.Message, pwd: str, *, error: bool = False) -> bytes:
    kind = stun.Class.ERROR if error else stun.Class.RESPONSE
    message = stun.Message(stun.Method.BINDING, kind, question.transaction_id)
    if error:
        message.attributes["ERROR-CODE"] = (487, "")
    message.add_message_integrity(pwd.encode())
    return bytes(message)


# ── coming ───────────────────────────────────────────────────────────────────────────────────


def test_who_checks_with_the_right_words_is_answered_and_its_way_chosen(here: Here):
    here.expect()
    request = check(THEIRS, OURS)
    outputs = here.hear(request)
    (message,) = messages(outputs)
    assert message.message_class is stun.Class.RESPONSE
    assert message.transaction_id == stun.parse_message(request).transaction_id
    assert message.attributes["XOR-MAPPED-ADDRESS"] == HOME.address
    assert message.check_message_integrity(OURS.pwd.encode())
    assert outputs[1:] == [Seen(ANA, HOME), Chosen(ANA, HOME)]


def test_a_way_that_is_not_nominated_is_heard_but_not_chosen(here: Here):
    here.expect()
    assert here.comes(nominate=False)[1:] == [Seen(ANA, HOME)]
    assert here.comes()[1:] == [Chosen(ANA, HOME)]


def test_ipv6_is_answered_with_its_address(here: Here):
    here.expect()
    way = Way(1, ("2001:db8::7", 9_000, 0, 0))
    (message,) = messages(here.comes(way), way)
    assert message.attributes["XOR-MAPPED-ADDRESS"] == ("2001:db8::7", 9_000)


def test_whoever_thinks_it_is_controlled_is_told_that_we_are(here: Here):
    """RFC 8445 §7.3.1.1: it takes the other role and checks again."""
    here.expect()
    (message,) = messages(here.comes(controlling=False))
    assert message.error_code == 487
    assert message.check_message_integrity(OURS.pwd.encode())
    assert Chosen(ANA, HOME) in here.comes()


def test_a_name_in_use_is_not_given_twice(here: Here):
    here.expect()
    assert not here.lite.expect(here.now_s, BEN, OURS, THEIRS_2)
    here.lite.forget(ANA)
    assert here.lite.expect(here.now_s, BEN, OURS, THEIRS_2)


def test_whoever_does_not_come_is_given_up(here: Here):
    here.expect()
    assert here.after(ARRIVAL_S_MAX - 0.1) == []
    assert here.after(0.2) == [Expired(ANA, came=False)]
    assert here.comes() != []  # refused like any stranger
    assert not [each for each in here.comes() if isinstance(each, Seen)]


def test_who_asks_for_consent_stays_and_who_does_not_is_gone(here: Here):
    here.expect()
    here.comes()
    for _ in range(20):
        assert here.after(5.0) == []
        here.comes()
    assert here.after(CONSENT_S_MAX - 0.1) == []
    assert here.after(0.2) == [Expired(ANA, came=True)]


def test_checks_from_elsewhere_are_no_consent_to_what_goes_home(here: Here):
    """Else whoever has left could keep a stranger who got its address under fire."""
    here.expect()
    here.comes(HOME)
    for _ in range(5):
        assert here.after(5.0) == []
        here.comes(ROAD, nominate=False)
    assert here.after(CONSENT_S_MAX - 25.0) == [Expired(ANA, came=True)]


def test_the_deadline_is_always_ahead(here: Here):
    assert here.lite.deadline == float("inf")
    here.expect()
    for _ in range(50):
        here.after(0.3)
        assert here.lite.deadline > here.now_s


# ── strangers ────────────────────────────────────────────────────────────────────────────────


def test_a_check_with_a_wrong_password_opens_nothing(here: Here):
    here.expect()
    for pwd in ("wrong", "", THEIRS.pwd):
        outputs = here.hear(check(THEIRS, OURS, pwd=pwd))
        (message,) = messages(outputs)
        assert message.error_code == 401
        assert len(outputs) == 1


def test_a_check_in_the_name_of_another_pair_opens_nothing(here: Here):
    here.expect()
    here.expect(BEN, OURS_2, THEIRS_2)
    for ours, theirs in [(OURS, THEIRS_2), (OURS_2, THEIRS)]:
        assert all(isinstance(each, Answer) for each in here.hear(check(theirs, ours)))


def test_strangers_are_answered_sparingly(here: Here):
    """A flood costs no answers, and what is answered is shorter than what came."""
    stranger = check(credentials("who"), credentials("knows"))

    def answers(hosts: list[str]) -> int:
        outputs = [each for host in hosts for each in here.hear(stranger, Way(0, (host, 1)))]
        for each in outputs:
            assert isinstance(each, Answer)
            assert len(each.data) < len(stranger)
        return len(outputs)

    one_network = [f"192.0.2.{n}" for n in range(1, 101)]
    many_networks = [f"10.{n % 250}.{n // 250}.1" for n in range(2_000)]
    assert answers(one_network) == REFUSALS_PER_S_OF_NETWORK
    assert answers(one_network) == 0
    here.after(1.0)
    assert answers(one_network) == REFUSALS_PER_S_OF_NETWORK
    here.after(1.0)
    assert answers(many_networks) == REFUSALS_PER_S


def test_a_flood_of_strangers_does_not_keep_a_peer_out(here: Here):
    here.expect()
    stranger = check(credentials("who"), credentials("knows"))
    for n in range(1_000):
        here.hear(stranger, Way(0, (f"10.0.{n % 250}.1", 2)))
    assert Chosen(ANA, HOME) in here.comes()


def test_a_known_name_alone_costs_us_only_so_many_checks_a_second(here: Here):
    here.expect()
    forged = check(THEIRS, OURS, pwd="wrong")
    answered = [here.hear(forged, Way(0, (f"10.{n}.0.1", 2))) for n in range(200)]
    assert len([each for each in answered if each]) == CHECKS_PER_S_MAX
    here.after(1.0)
    assert Chosen(ANA, HOME) in here.comes()


def test_noise_is_passed_over(here: Here):
    here.expect()
    rng, good = random.Random(3), check(THEIRS, OURS)
    for _ in range(5_000):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            # Not in the FINGERPRINT at the end: it is there to be missed, not to be believed.
            data[rng.randrange(len(data) - 8)] = rng.randrange(256)
        data = data[: rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data
        if data[:-8] != good[:-8]:
            assert not [each for each in here.hear(bytes(data)) if isinstance(each, Chosen)]
        here.now_s += 0.1
    for _ in range(2_000):
        assert here.hear(rng.randbytes(rng.randrange(600))) == []


# ── another way ──────────────────────────────────────────────────────────────────────────────


def test_another_way_is_used_once_its_end_has_answered(here: Here):
    here.expect()
    here.comes(HOME)
    outputs = here.comes(ROAD)
    success, question = messages(outputs, ROAD)
    assert success.message_class is stun.Class.RESPONSE
    assert question.attributes["USERNAME"] == f"{THEIRS.ufrag}:{OURS.ufrag}"
    assert question.check_message_integrity(THEIRS.pwd.encode())
    # What comes from there is heard at once, so that no sound is lost; nothing goes there yet.
    assert [each for each in outputs if not isinstance(each, Answer)] == [Seen(ANA, ROAD)]
    assert here.hear(answer(question, THEIRS.pwd), ROAD) == [Chosen(ANA, ROAD)]
    assert here.hear(answer(question, THEIRS.pwd), ROAD) == []


def test_an_answer_from_elsewhere_or_by_another_moves_nothing(here: Here):
    """A guest that writes a stranger's address on its checks turns no voices on the stranger."""
    here.expect()
    here.comes(HOME)
    _, question = messages(here.comes(ROAD), ROAD)
    assert here.hear(answer(question, THEIRS.pwd), HOME) == []
    assert here.hear(answer(question, OURS.pwd), ROAD) == []
    assert here.hear(bytes(stun.Message(stun.Method.BINDING, stun.Class.RESPONSE)), ROAD) == []
    asked = 1
    while outputs := here.after(ASK_EACH_S):
        (again,) = messages(outputs, ROAD)
        assert again.transaction_id == question.transaction_id
        asked += 1
    assert asked == ASKS_OF_NEW_MAX
    here.after(ASK_EACH_S)
    assert here.hear(answer(question, THEIRS.pwd), ROAD) == []  # too late
    assert here.comes(HOME)[1:] == []  # still chosen


def test_where_a_peer_only_says_it_is_little_is_sent(here: Here):
    """It writes a stranger's address on a check. Outcome: less than thrice as much goes there."""
    here.expect()
    here.comes(HOME)
    for data, asks in ((check(THEIRS, OURS), ASKS_OF_NEW_MAX), (shortest_check(), 1)):
        sent = here.hear(data, ROAD)
        for _ in range(10):
            sent += here.after(ASK_EACH_S)
        told = [each.data for each in sent if isinstance(each, Answer) and each.way == ROAD]
        assert len(told) == 1 + asks
        assert sum(map(len, told)) < 3 * len(data)


def test_an_error_in_answer_moves_nothing(here: Here):
    here.expect()
    here.comes(HOME)
    _, question = messages(here.comes(ROAD), ROAD)
    assert here.hear(answer(question, THEIRS.pwd, error=True), ROAD) == []


def test_a_forged_source_takes_nobodys_way(here: Here):
    here.expect()
    here.expect(BEN, OURS_2, THEIRS_2)
    here.comes(HOME)
    outputs = here.hear(check(THEIRS_2, OURS_2), HOME)
    assert all(isinstance(each, Answer) for each in outputs)
    _, question = messages(outputs)
    assert here.hear(answer(question, THEIRS.pwd), HOME) == []  # Ana is there, not Ben


def test_nobody_takes_a_way_by_checking_before_it_is_known(here: Here):
    here.expect()
    here.comes()
    assert here.lite.expect(here.now_s, BEN, OURS_2, None)
    here.hear(check(THEIRS_2, OURS_2), HOME)
    assert list(here.lite.meet(BEN, THEIRS_2)) == []
    assert here.comes()[1:] == []  # still hers


def test_who_really_is_where_another_was_takes_its_way(here: Here):
    here.expect()
    here.expect(BEN, OURS_2, THEIRS_2)
    here.comes(HOME)
    _, question = messages(here.hear(check(THEIRS_2, OURS_2), HOME))
    assert here.hear(answer(question, THEIRS_2.pwd), HOME) == [
        Expired(ANA, came=True),
        Seen(BEN, HOME),
        Chosen(BEN, HOME),
    ]


def test_a_peer_is_heard_from_only_so_many_ways(here: Here):
    here.expect()
    here.comes(HOME)
    ways = [Way(0, (f"10.0.0.{n}", 7)) for n in range(1, 10)]
    seen = [each for way in ways for each in here.comes(way) if isinstance(each, Seen)]
    assert [each.way for each in seen] == ways
    gone = [each.gone for each in seen]
    assert gone[: WAYS_MAX - 1] == [None] * (WAYS_MAX - 1)
    assert gone[WAYS_MAX - 1 :] == ways[: len(ways) - WAYS_MAX + 1]  # never the one it is sent to


# ── are you there ────────────────────────────────────────────────────────────────────────────


def test_who_is_asked_and_answers_stays(here: Here):
    here.expect()
    here.comes()
    here.after(CONSENT_S_MAX - 1.0)
    (question,) = messages(list(here.lite.ask(here.now_s, ANA)))
    assert list(here.lite.ask(here.now_s, ANA)) == []  # once is enough
    assert here.hear(answer(question, THEIRS.pwd)) == []
    assert here.after(CONSENT_S_MAX - 0.1) == []


def test_who_is_asked_and_does_not_answer_is_gone_within_two_seconds(here: Here):
    here.expect()
    here.comes()
    here.lite.ask(here.now_s, ANA)
    outputs = [each for _ in range(ASKS_MAX) for each in here.after(ASK_EACH_S)]
    assert outputs[-1] == Expired(ANA, came=True)
    assert len(messages(outputs[:-1])) == ASKS_MAX - 1


# ── two who only answer ──────────────────────────────────────────────────────────────────────────


class Lites:
    """Two lite ends at HOME and ROAD, of which ANA's offered, and a path that may lose all."""

    def __init__(self, *, knock_at: tuple[Way, ...] = (ROAD,)) -> None:
        self.now_s = 100.0
        self.ends = {HOME: Lite(os.urandom), ROAD: Lite(os.urandom)}
        self.seen: dict[Way, list[LiteOutput]] = {HOME: [], ROAD: []}
        self.is_cut = False
        for at, ours, theirs, ways in (
            (HOME, OURS, THEIRS, knock_at),
            (ROAD, THEIRS, OURS, ()),
        ):
            end = self.ends[at]
            assert end.expect(self.now_s, ANA, ours, None, consent_s=5.0)
            end.meet(ANA, theirs, ways)

    def perform(self, at: Way, outputs: Sequence[LiteOutput]) -> None:
        self.seen[at] += outputs
        for each in outputs:
            if isinstance(each, Answer) and each.way in self.ends and not self.is_cut:
                there = self.ends[each.way]
                self.perform(each.way, there.receive(self.now_s, each.data, at))

    def wait(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += ASK_EACH_S / 2
            for at, end in self.ends.items():
                if self.now_s >= end.deadline:
                    self.perform(at, end.tick(self.now_s))

    def chose(self, at: Way) -> list[Way]:
        return [each.way for each in self.seen[at] if isinstance(each, Chosen)]

    def expired(self, at: Way) -> bool:
        return any(isinstance(each, Expired) for each in self.seen[at])


def test_two_who_only_answer_meet_because_the_one_that_offered_knocks_and_stay():
    lites = Lites(knock_at=(Way(0, ("203.0.113.1", 9)), ROAD))
    lites.wait(3)
    assert (lites.chose(HOME), lites.chose(ROAD)) == ([ROAD], [HOME])
    lites.wait(120)
    assert not lites.expired(HOME)
    assert not lites.expired(ROAD)
    lites.is_cut = True
    lites.wait(7)
    assert lites.expired(HOME)
    assert lites.expired(ROAD)


def test_of_many_places_the_last_is_knocked_at_within_five_seconds():
    nowhere = tuple(Way(0, (f"203.0.113.{n}", 9)) for n in range(1, KNOCKS_AT_MAX))
    lites = Lites(knock_at=(ROAD, *nowhere))  # the first is knocked at last
    lites.wait(5)
    assert lites.chose(HOME) == [ROAD]


def test_who_checks_itself_is_knocked_at_no_more(here: Here):
    assert here.lite.expect(here.now_s, ANA, OURS, None)
    here.lite.meet(ANA, THEIRS, (ROAD,))
    assert messages(here.after(ASK_EACH_S), ROAD)
    assert Chosen(ANA, HOME) in here.comes()
    assert here.after(5) == []


def test_nobody_is_knocked_at_for_ever_or_everywhere(here: Here):
    places = tuple(Way(0, (f"203.0.113.{n}", 9)) for n in range(50))
    assert here.lite.expect(here.now_s, ANA, OURS, None)
    here.lite.meet(ANA, THEIRS, places)
    sent: list[Way] = []
    for _ in range(200):
        sent += [each.way for each in here.after(ASK_EACH_S) if isinstance(each, Answer)]
    assert len(set(sent)) == KNOCKS_AT_MAX
    assert len(sent) <= ARRIVAL_S_MAX / ASK_EACH_S


# ── an ICE restart ───────────────────────────────────────────────────────────────────────────


def restart(here: Here, link: LinkNumber = ANA) -> None:
    assert here.lite.restart(link, OURS_2, THEIRS_2)


def test_one_who_restarts_is_answered_under_both_names_and_stays_where_it_is(here: Here):
    here.expect()
    here.comes()
    restart(here)
    (message,) = messages(here.comes())
    assert message.message_class is stun.Class.RESPONSE
    (message, *rest) = here.hear(check(THEIRS_2, OURS_2, nominate=False), ROAD)
    assert isinstance(message, Answer)
    assert stun.parse_message(message.data).check_message_integrity(OURS_2.pwd.encode())
    assert rest == [Seen(ANA, ROAD)]


def test_the_way_that_it_nominates_under_its_new_names_is_used_once_it_has_answered(here: Here):
    here.expect()
    here.comes()
    restart(here)
    outputs = here.hear(check(THEIRS_2, OURS_2), ROAD)
    question = messages(outputs, ROAD)[-1]
    assert question.attributes["USERNAME"] == f"{THEIRS_2.ufrag}:{OURS_2.ufrag}"
    assert here.hear(answer(question, THEIRS.pwd), ROAD) == [], "the former password is none"
    assert here.hear(answer(question, THEIRS_2.pwd), ROAD) == [Chosen(ANA, ROAD)]


def test_what_it_nominated_by_its_former_names_does_not_bring_it_back(here: Here):
    here.expect()
    here.comes()
    restart(here)
    question = messages(here.hear(check(THEIRS_2, OURS_2), ROAD), ROAD)[-1]
    here.hear(answer(question, THEIRS_2.pwd), ROAD)
    (late,) = here.comes()
    assert isinstance(late, Answer), "a check on its way is answered, and moves nothing"
    assert here.after(ASK_EACH_S) == []


def test_a_question_under_the_former_names_is_put_no_more(here: Here):
    """Nobody could answer it, and the guest would be lost."""
    here.expect()
    here.comes()
    here.lite.ask(here.now_s, ANA)
    restart(here)
    here.hear(check(THEIRS_2, OURS_2))
    assert [here.after(ASK_EACH_S) for _ in range(2 * ASKS_MAX)] == [[]] * 2 * ASKS_MAX


def test_new_names_need_their_own_password_and_are_nobody_else_s(here: Here):
    here.expect()
    here.comes()
    restart(here)
    for forged in (
        check(THEIRS_2, OURS_2, pwd=OURS.pwd),
        check(THEIRS, OURS_2),
        check(THEIRS_2, OURS),
    ):
        (message,) = messages(here.hear(forged, ROAD), ROAD)
        assert message.message_class is stun.Class.ERROR
    assert not here.lite.restart(BEN, credentials("more"), THEIRS_2), "who is not here"
    assert not here.lite.restart(ANA, OURS, THEIRS_2), "a name in use"


def test_names_of_a_restart_are_forgotten_with_the_next_and_with_the_guest(here: Here):
    here.expect()
    here.comes()
    restart(here)
    more = credentials("more")
    assert here.lite.restart(ANA, more, THEIRS_2)
    assert here.lite.named(OURS_2.ufrag) is None
    assert here.lite.named(more.ufrag) == ANA
    here.lite.forget(ANA)
    assert here.lite.named(more.ufrag) is None
    assert here.lite.named(OURS.ufrag) is None
