import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.carry.table import Table, TableRefused, Way, compile_table
from p2phouse.channel import TableRow
from p2phouse.vocabulary import HERE, LinkNumber, Ssrc
from tests.carry.packets import ANA, BEN, FOUR, ONE, THREE, TWO

LINKS = st.integers(0, 5).map(LinkNumber)
ROWS = st.builds(
    TableRow,
    ingress=LINKS,
    ssrc=st.integers(0, 7).map(Ssrc),
    standbys=st.lists(LINKS, max_size=3).map(tuple),
    sinks=st.lists(LINKS, max_size=4).map(tuple),
    warm=st.lists(LINKS, max_size=3).map(tuple),
)


def test_an_empty_table_lets_nothing_through():
    assert Table.empty().way(ONE, ANA) is None
    assert Table.empty().epoch < 0


def test_ingress_and_standbys_may_bring_a_voice_and_nobody_else():
    table = compile_table(7, [TableRow(ONE, ANA, (TWO, FOUR), (HERE, THREE))])
    assert table.epoch == 7
    for link in (ONE, TWO, FOUR):
        assert table.way(link, ANA) == Way((HERE, THREE))
    for link in (HERE, THREE, LinkNumber(5)):
        assert table.way(link, ANA) is None
    assert table.way(ONE, BEN) is None


def test_one_link_may_bring_many_voices_and_a_voice_may_go_nowhere():
    table = compile_table(0, [TableRow(ONE, ANA, (), (HERE,)), TableRow(ONE, BEN, (), ())])
    assert table.way(ONE, ANA) == Way((HERE,))
    assert table.way(ONE, BEN) == Way(())


def test_a_table_with_two_rows_for_one_voice_is_refused():
    with pytest.raises(TableRefused, match="two rows for voice a0a0a0a0"):
        compile_table(1, [TableRow(ONE, ANA, (), (HERE,)), TableRow(TWO, ANA, (), (THREE,))])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (TableRow(ONE, ANA, (), (TWO, ONE)), "goes back to where it comes from"),
        (TableRow(HERE, ANA, (), (HERE,)), "goes back to where it comes from"),
        (TableRow(ONE, ANA, (), (TWO, HERE, TWO)), "goes twice to one link"),
        (TableRow(ONE, ANA, (ONE,), (TWO,)), "link 1 is its own standby"),
        (TableRow(ONE, ANA, (TWO, TWO), ()), "stands by twice for voice a0a0a0a0"),
        (TableRow(HERE, ANA, (ONE,), (TWO,)), "our own voice a0a0a0a0 has a standby"),
        (TableRow(ONE, ANA, (HERE,), (TWO,)), "our own voice a0a0a0a0 has a standby"),
        (TableRow(ONE, ANA, (), (TWO,), warm=(TWO,)), "goes twice to one link"),
        (TableRow(ONE, ANA, (), (), warm=(TWO, TWO)), "goes twice to one link"),
        (TableRow(ONE, ANA, (), (), warm=(ONE,)), "goes back to where it comes from"),
        (TableRow(ONE, ANA, (), (), warm=(HERE,)), "our own ear stands by for voice a0a0a0a0"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(row: TableRow, why: str):
    with pytest.raises(TableRefused, match=why):
        compile_table(1, [row])


def test_a_row_says_where_its_voice_goes_only_when_asked():
    table = compile_table(1, [TableRow(ONE, ANA, (), (HERE,), warm=(TWO, THREE))], loudest=3)
    assert table.way(ONE, ANA) == Way((HERE,), (TWO, THREE))
    assert table.way(TWO, ANA) is None
    assert table.loudest == 3


def test_who_may_bring_what_it_is_sent_brings_it_to_our_ear_alone():
    table = compile_table(1, [TableRow(ONE, ANA, (TWO, FOUR), (HERE, TWO, THREE))])
    assert table.way(TWO, ANA) == Way((HERE,))
    assert table.way(FOUR, ANA) == table.way(ONE, ANA) == Way((HERE, TWO, THREE))


def test_nobody_stands_by_for_himself():
    assert compile_table(1, [], ONE, (TWO,)).guarded == ONE
    for wrong in ({"guarded": HERE}, {"hurried": (TWO, HERE)}, {"leaning": HERE}):
        with pytest.raises(TableRefused, match="stand by for ourselves"):
            compile_table(1, [], **wrong)


def test_a_table_cannot_be_changed():
    table = compile_table(1, [TableRow(ONE, ANA, (), (TWO,))])
    with pytest.raises(TypeError):
        table.ways[TWO, ANA] = Way((ONE,))  # type: ignore[index]  # that is the point
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.epoch = 2  # type: ignore[misc]  # that is the point


@given(st.lists(ROWS, max_size=6))
def test_whatever_compiles_names_each_source_of_a_voice_once_and_no_sink_among_them(
    rows: list[TableRow],
):
    try:
        table = compile_table(1, rows)
    except TableRefused:
        return
    for ssrc in range(8):
        sources = [link for link in range(6) if table.way(LinkNumber(link), Ssrc(ssrc))]
        named = [(row.ingress, *row.standbys) for row in rows if row.ssrc == ssrc]
        assert len(named) <= 1
        assert sources == sorted(link for links in named for link in links)
        for link in sources:
            way = table.way(LinkNumber(link), Ssrc(ssrc))
            assert way is not None
            targets = [*way.sinks, *way.warm]
            assert link not in targets
            assert len(set(targets)) == len(targets)
