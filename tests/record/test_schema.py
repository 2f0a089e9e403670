from dataclasses import dataclass, make_dataclass
from enum import IntEnum
from typing import Annotated, Any, Literal, NewType

import pytest
from hypothesis import given

from p2phouse.record.cbor import Malformed, Value
from p2phouse.record.schema import Count, Range, Size, Text, Verbatim, is_plain_text, pack, unpack
from tests.record import samples
from tests.record.strategies import instances

RECORD_CLASSES = [type(record) for record in samples.RECORDS]


class Colour(IntEnum):
    RED = 0
    BLUE = 4


@dataclass(frozen=True, slots=True)
class Point:
    x: Annotated[int, Range(0, 9)]
    y: bool


Name = NewType("Name", bytes)
INT_MAX = 2**63 - 1


def read(hint: Any, value: Value) -> object:  # noqa: ANN401 - an annotation
    """What a field with this annotation makes of a value."""
    return unpack(make_dataclass("OneField", [("it", hint)], frozen=True), [value]).it


ACCEPTED: list[tuple[Any, Value, object]] = [
    (Annotated[bytes, Size(2)], b"ab", b"ab"),
    (Annotated[bytes, Size(1, 3)], b"a", b"a"),
    (Annotated[bytes, Size(1, 3)], b"abc", b"abc"),
    (Annotated[Name, Size(2)], b"ab", b"ab"),
    (Annotated[str, Text(3)], "", ""),
    (Annotated[str, Text(3)], "äöü", "äöü"),
    (Annotated[str, Verbatim(3)], "a\n\u202e", "a\n\u202e"),
    (Annotated[int, Range(-1, 2)], -1, -1),
    (Annotated[int, Range(-1, 2)], 2, 2),
    (int, INT_MAX, INT_MAX),
    (int, -INT_MAX - 1, -INT_MAX - 1),
    (bool, False, False),
    (Colour, 4, Colour.BLUE),
    (Literal["direct", "relay"], "relay", "relay"),
    (Annotated[tuple[int, ...], Count(1, 2)], [5], (5,)),
    (Annotated[tuple[int, ...], Count(1, 2)], [5, 6], (5, 6)),
    (tuple[int, bool], [5, True], (5, True)),
    (Annotated[bytes, Size(2)] | None, None, None),
    (Annotated[bytes, Size(2)] | None, b"ab", b"ab"),
    (Annotated[str, Text(1)] | Annotated[int, Range(0, 1)] | bool | None, "a", "a"),
    (Annotated[str, Text(1)] | Annotated[int, Range(0, 1)] | bool | None, 1, 1),
    (Annotated[str, Text(1)] | Annotated[int, Range(0, 1)] | bool | None, True, True),
    (Annotated[str, Text(1)] | Annotated[int, Range(0, 1)] | bool | None, None, None),
    (Point, [9, True], Point(9, True)),
    (Annotated[tuple[Point, ...], Count(0, 2)], [[0, False]], (Point(0, False),)),
]

REFUSED: list[tuple[Any, Value]] = [
    (Annotated[bytes, Size(2)], b"a"),
    (Annotated[bytes, Size(2)], b"abc"),
    (Annotated[bytes, Size(2)], "ab"),
    (Annotated[bytes, Size(1, 3)], b""),
    (Annotated[bytes, Size(1, 3)], b"abcd"),
    (Annotated[Name, Size(2)], b"abc"),
    (Annotated[str, Text(3)], "äöüß"),
    (Annotated[str, Text(3)], b"abc"),
    (Annotated[str, Text(3)], "a\n"),
    (Annotated[str, Verbatim(3)], "abcd"),
    (Annotated[str, Verbatim(3)], 3),
    (Annotated[int, Range(-1, 2)], -2),
    (Annotated[int, Range(-1, 2)], 3),
    (Annotated[int, Range(-1, 2)], True),
    (Annotated[int, Range(-1, 2)], None),
    (int, INT_MAX + 1),
    (int, -INT_MAX - 2),
    (int, False),
    (bool, 1),
    (bool, None),
    (Colour, 1),
    (Colour, False),
    (Colour, "RED"),
    (Literal["direct", "relay"], "both"),
    (Literal["direct", "relay"], []),
    (Annotated[tuple[int, ...], Count(1, 2)], []),
    (Annotated[tuple[int, ...], Count(1, 2)], [5, 6, 7]),
    (Annotated[tuple[int, ...], Count(1, 2)], ["5"]),
    (Annotated[tuple[int, ...], Count(1, 2)], {}),
    (Annotated[tuple[int, ...], Count(1, 2)], {5: 6}),
    (tuple[int, bool], [5]),
    (tuple[int, bool], [5, True, True]),
    (tuple[int, bool], [5, 1]),
    (Annotated[bytes, Size(2)] | None, b"abc"),
    (Annotated[bytes, Size(2)] | None, False),
    (Annotated[str, Text(1)] | Annotated[int, Range(0, 1)] | bool, None),
    (Annotated[str, Text(1)] | Annotated[int, Range(0, 1)] | bool, "ab"),
    (Annotated[str, Text(1)] | Annotated[int, Range(0, 1)] | bool, 2),
    (Annotated[str, Text(1)] | Annotated[int, Range(0, 1)] | bool, b"a"),
    (Point, [9]),
    (Point, [9, True, 0]),
    (Point, [10, True]),
    (Point, {9: True}),
]


@pytest.mark.parametrize(("hint", "value", "expected"), ACCEPTED)
def test_a_field_takes_what_its_annotation_says(hint, value, expected):
    found = read(hint, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("hint", "value"), REFUSED)
def test_a_field_refuses_everything_else(hint, value):
    with pytest.raises(Malformed):
        read(hint, value)


def test_a_list_without_a_limit_is_a_bug():
    with pytest.raises(AssertionError, match="everything has a limit"):
        read(tuple[int, ...], [])


def test_a_message_needs_all_its_fields_and_no_more():
    fields = pack(samples.SOFT)
    assert unpack(type(samples.SOFT), fields) == samples.SOFT
    for wrong in (fields[:-1], [*fields, 0], []):
        with pytest.raises(Malformed, match="fields"):
            unpack(type(samples.SOFT), wrong)


@pytest.mark.parametrize("cls", RECORD_CLASSES, ids=lambda cls: cls.NAME)
def test_every_record_that_its_schema_allows_comes_back_the_same(cls):
    @given(instances(cls))
    def comes_back(record):
        assert unpack(cls, pack(record)) == record

    comes_back()


PLAIN = ["", "a b~", "Zoë", "中文", "\U0001f469\u200d\U0001f467", "שלום", "ＡＢ"]

NOT_PLAIN = {
    "a new line": "a\nb",
    "a tabulator": "a\tb",
    "NUL": "\0",
    "delete": "a\x7f",
    "a C1 control": "ä\x85",
    "letter and accent apart (NFD)": "Zoe\u0308",
    "a compatibility form of one letter": "\u212b",
    "Arabic letter mark": "ä\u061c",
    "left-to-right mark": "ä\u200e",
    "right-to-left mark": "\u200f",
    "left-to-right embedding": "\u202a",
    "right-to-left embedding": "\u202b",
    "pop": "\u202c",
    "left-to-right override": "\u202d",
    "right-to-left override": "ab\u202ecd",
    "left-to-right isolate": "\u2066",
    "right-to-left isolate": "\u2067",
    "first-strong isolate": "\u2068",
    "pop isolate": "\u2069",
    "zero width no-break space": "\ufeff",
}


@pytest.mark.parametrize("text", PLAIN)
def test_words_of_every_language_are_plain(text):
    assert is_plain_text(text)


@pytest.mark.parametrize("what", NOT_PLAIN)
def test_text_that_hides_or_turns_what_stands_around_it_is_not_plain(what):
    assert not is_plain_text(NOT_PLAIN[what])
