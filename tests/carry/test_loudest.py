"""Who is heard when many speak, tick by tick in virtual time."""

import random
from collections.abc import Callable, Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from p2phouse.carry.loudest import Loudest
from p2phouse.vocabulary import FRAME_S, Ssrc

ANA, BEN, CEM, DEA, EVE = (Ssrc(n) for n in range(1, 6))
EVERYBODY = [ANA, BEN, CEM, DEA, EVE]
Says = Callable[[int], int | None]  # level in -dBov at this tick; None: no packet


def says(dbov: int, *, seed: int = 0, begins_s: float = 0.0, ends_s: float = 1e9) -> Says:
    """Speech of this mean level: it goes up and down by 8 dB."""
    rng = random.Random(seed)
    levels = [dbov + rng.randint(-8, 8) for _ in range(997)]

    def level(tick: int) -> int | None:
        is_on = begins_s <= tick * FRAME_S < ends_s
        return max(0, levels[tick % len(levels)]) if is_on else None

    return level


def lies(dbov: int, *, begins_s: float = 0.0) -> Says:
    """A constant level."""
    return lambda tick: dbov if tick * FRAME_S >= begins_s else None


class Stage:
    def __init__(self, voices: Mapping[Ssrc, Says], *, pinned: tuple[Ssrc, ...] = ()) -> None:
        self.voices = voices
        self.loudest = Loudest(3)
        self.loudest.set_voices({ssrc: ssrc in pinned for ssrc in voices})
        self.ticks = 0
        self.withheld: frozenset[Ssrc] = frozenset()

    def run(self, until_s: float) -> list[set[Ssrc]]:
        """Who was heard at each tick: sent something, and was not withheld when it came."""
        heard = []
        while self.ticks * FRAME_S < until_s - 1e-9:
            now = {
                k: level for k, say in self.voices.items() if (level := say(self.ticks)) is not None
            }
            heard.append(set(now) - self.withheld)
            self.withheld = self.loudest.tick(self.ticks * FRAME_S, now)
            self.ticks += 1
        return heard


def times_s(heard: list[set[Ssrc]], who: Ssrc) -> float:
    return round(sum(who in each for each in heard) * FRAME_S, 2)


def test_as_many_as_have_seats_are_heard_from_their_first_packet_on():
    stage = Stage({ANA: says(30), BEN: says(50, begins_s=1.0), CEM: says(70, begins_s=2.0)})
    heard = stage.run(4.0)
    assert [times_s(heard, who) for who in (ANA, BEN, CEM)] == [4.0, 3.0, 2.0]


def test_of_five_who_speak_at_once_the_three_loudest_are_heard():
    levels = dict(zip(EVERYBODY, (60, 20, 45, 30, 70), strict=True))
    stage = Stage({who: says(dbov, seed=who) for who, dbov in levels.items()})
    stage.run(5.0)
    assert stage.withheld == {ANA, EVE}


def test_a_louder_voice_is_let_in_after_100_ms_and_the_weakest_leaves():
    stage = Stage({ANA: says(30), BEN: says(35), CEM: says(50), DEA: says(20, begins_s=3.0)})
    heard = stage.run(5.0)
    assert stage.withheld == {CEM}
    assert 1.8 <= times_s(heard[150:], DEA) <= 1.9  # of two seconds


def test_who_is_about_as_loud_does_not_get_in():
    stage = Stage(
        {ANA: says(30), BEN: says(30, seed=1), CEM: says(30, seed=2), DEA: says(28, begins_s=3.0)}
    )
    heard = stage.run(20.0)
    assert times_s(heard, DEA) == 0.0


def test_a_cough_moves_nobody():
    stage = Stage(
        {ANA: says(40), BEN: says(40), CEM: says(40), DEA: says(10, begins_s=3.0, ends_s=3.08)}
    )
    heard = stage.run(5.0)
    assert times_s(heard, DEA) == 0.0
    assert stage.withheld == {DEA}


def test_whoever_has_begun_stays_for_a_second_and_a_half():
    stage = Stage(
        {
            ANA: says(20),
            BEN: says(20),
            CEM: says(60, begins_s=3.0),
            DEA: says(20, begins_s=3.1),
        }
    )
    heard = stage.run(6.0)
    assert 1.5 <= times_s(heard, CEM) <= 1.56


def test_a_seat_that_nobody_speaks_on_is_free_again_though_a_pause_for_breath_keeps_it():
    def breathes(tick: int) -> int | None:
        return 60 - tick % 17 if tick % 60 < 48 else None  # 240 ms of each 1.2 s

    others = {ANA: says(20), BEN: says(20, seed=1)}
    heard = Stage(others | {CEM: breathes, DEA: says(58, begins_s=3.0)}).run(9.0)
    assert times_s(heard, DEA) == 0.0
    stage = Stage(others | {CEM: says(60, ends_s=2.0), DEA: says(60, begins_s=5.0)})
    heard = stage.run(7.0)
    assert times_s(heard, DEA) == 2.0


def test_the_host_is_always_heard_and_takes_nobodys_seat():
    stage = Stage({who: says(20 + who, seed=who) for who in EVERYBODY}, pinned=(EVE,))
    heard = stage.run(5.0)
    assert times_s(heard, EVE) == 5.0
    assert all(len(each - {EVE}) <= 3 for each in heard[1:])


def test_a_lie_that_never_varies_holds_its_seat_for_ten_seconds_and_no_longer():
    stage = Stage(
        {ANA: says(30), BEN: says(30, seed=1), CEM: says(40, seed=2), EVE: lies(0, begins_s=2.0)}
    )
    heard = stage.run(60.0)
    assert 9.0 < times_s(heard, EVE) < 10.5
    assert times_s(heard[700:], CEM) == times_s(heard[700:], ANA)


def test_three_liars_who_were_first_do_not_keep_out_who_speaks():
    stage = Stage({ANA: lies(0), BEN: lies(0), CEM: lies(0), DEA: says(30, begins_s=20.0)})
    heard = stage.run(40.0)
    assert times_s(heard, DEA) > 19.5


def test_pauses_do_not_make_a_flat_level_vary():
    def pulses(tick: int) -> int | None:
        return 0 if tick % 100 < 80 else None

    stage = Stage({ANA: says(30), BEN: says(30, seed=1), CEM: says(40, seed=2), EVE: pulses})
    heard = stage.run(60.0)
    assert times_s(heard, EVE) < 14.0


def test_alone_a_flat_level_is_heard_on():
    heard = Stage({ANA: says(30), EVE: lies(0)}).run(30.0)
    assert times_s(heard, EVE) == 30.0


def test_late_packets_are_no_silence():
    def late(tick: int) -> int | None:
        return 30 - tick % 13 if tick % 3 == 0 else None  # three at once each 60 ms

    stage = Stage({ANA: late, BEN: says(20), CEM: says(20, seed=1), DEA: says(34, begins_s=2.0)})
    heard = stage.run(10.0)
    assert times_s(heard, DEA) == 0.0


def test_a_new_table_keeps_the_seats_of_those_who_stay_and_frees_those_of_others():
    stage = Stage({who: says(30 + 10 * who, seed=who) for who in EVERYBODY[:4]})
    stage.run(5.0)
    assert stage.withheld == {DEA}
    stage.loudest.set_voices(dict.fromkeys([BEN, CEM, DEA, EVE], False))
    stage.voices = {who: stage.voices[who] for who in (BEN, CEM, DEA)}
    stage.run(5.1)
    assert stage.withheld == {EVE}


@settings(max_examples=60)
@given(
    st.lists(
        st.lists(st.none() | st.integers(0, 127), min_size=5, max_size=5), min_size=1, max_size=300
    ),
    st.frozensets(st.sampled_from(EVERYBODY), max_size=2),
)
def test_never_more_than_three_and_the_pinned_pass_and_those_never_wait(levels, pinned):
    """Whatever is claimed: after each tick at most three others are let through, and nobody is
    withheld while a seat is free."""
    loudest = Loudest(3)
    loudest.set_voices({who: who in pinned for who in EVERYBODY})
    for tick, row in enumerate(levels):
        now = {k: v for k, v in zip(EVERYBODY, row, strict=True) if v is not None}
        withheld = loudest.tick(tick * FRAME_S, now)
        assert not withheld & pinned
        through = set(now) - withheld - pinned
        assert len(through) <= 3
        assert not withheld or len(EVERYBODY) - len(withheld) - len(pinned) == 3
