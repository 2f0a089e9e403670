"""A link as a QR code, in the page and in a terminal."""

import re

from p2phouse.qr import matrix, terminal

LINK = "p2ph:" + "a" * 52 + "?d=12D3KooWBynX2HaNg73xSLq9TJDQjQKozxCh7MgVqKgGGXWXYzQn&i=" + "x" * 320
FINDER = ("1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111")


def test_a_code_is_square_with_three_finders_and_a_white_border():
    rows = matrix(LINK)
    assert {len(row) for row in rows} == {len(rows)}
    for top, left in ((4, 4), (4, len(rows) - 11), (len(rows) - 11, 4)):
        found = tuple(row[left : left + 7] for row in rows[top : top + 7])
        assert found == FINDER
    for line in (*rows[:4], *rows[-4:]):
        assert set(line) == {"0"}
    assert all(row.startswith("0000") and row.endswith("0000") for row in rows)


def test_the_longest_link_still_fits():
    assert len(matrix("x" * 1_024)) < 177 + 8


def test_a_terminal_shows_the_same_two_rows_a_line_whatever_its_colours():
    rows, lines = matrix(LINK), terminal(LINK).splitlines()
    halves = {" ": "00", "▀": "10", "▄": "01", "█": "11"}
    drawn = []
    for line in lines:
        assert line.startswith("\x1b[38;5;16m\x1b[48;5;231m")
        assert line.endswith("\x1b[0m")
        pairs = [halves[char] for char in re.sub(r"\x1b\[[0-9;]*m", "", line)]
        drawn += ["".join(pair[0] for pair in pairs), "".join(pair[1] for pair in pairs)]
    assert drawn[: len(rows)] == rows
    assert max(map(len, drawn)) < 120  # a wide terminal; the page is there for others
