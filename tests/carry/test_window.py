from hypothesis import given
from hypothesis import strategies as st

from p2phouse.carry.window import WINDOW_PACKETS, SeqWindow


def admitted(*seqs: int) -> list[bool]:
    window = SeqWindow()
    return [window.admit(seq) for seq in seqs]


def test_the_first_packet_is_new_whatever_its_seq():
    for seq in (0, 1, 32_767, 32_768, 65_535):
        assert admitted(seq, seq) == [True, False]


def test_late_packets_are_new_once_within_the_window():
    assert admitted(100, 102, 101, 101, 99, 100) == [True, True, True, False, True, False]


def test_what_is_older_than_the_window_counts_as_seen():
    oldest = 1_000 - WINDOW_PACKETS + 1
    assert admitted(1_000, oldest, oldest - 1) == [True, True, False]


def test_a_leap_empties_the_window_and_keeps_the_old_out():
    assert admitted(5, 5 + WINDOW_PACKETS, 6, 5) == [True, True, True, False]
    assert admitted(5, 5 + WINDOW_PACKETS - 1, 5) == [True, True, False]
    assert admitted(5, 30_000, 5, 29_999, 30_000) == [True, True, False, True, False]


def test_the_window_goes_round_the_end_of_seq():
    assert admitted(65_534, 1, 65_535, 0, 65_535, 1) == [True, True, True, True, False, False]


def test_half_way_round_is_behind():
    assert admitted(0, 32_767) == [True, True]
    assert admitted(0, 32_768) == [True, False]


@given(
    st.integers(0, 65_535),
    st.lists(st.integers(-2 * WINDOW_PACKETS, 3 * WINDOW_PACKETS), max_size=200),
)
def test_it_agrees_with_a_set_of_unwrapped_seqs(start: int, steps: list[int]):
    """Against the definition: new is what is in the window and not in the set."""
    window, seen, newest, at = SeqWindow(), set[int](), start, start
    window.admit(start)
    seen.add(start)
    for step in steps:
        at = newest + step
        is_new = at > newest - WINDOW_PACKETS and at not in seen
        assert window.admit(at % 65_536) == is_new
        if is_new:
            seen.add(at)
            newest = max(newest, at)
