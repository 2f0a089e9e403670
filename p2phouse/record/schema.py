"""From dataclasses to the arrays that stand for them on the wire, and back with every check.

A field's annotation is its schema: `Annotated[bytes, Size(32)]`, `Annotated[str, Text(80)]`,
`Annotated[int, Range(0, 15)]`, `Annotated[tuple[X, ...], Count(0, 8)]`, `Literal["a", "b"]`,
`X | None`, an IntEnum, or another dataclass. A plain `int` is any of 64 bits. Checks are compiled
once for each class.
"""

import types
import typing
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from p2phouse.record.cbor import Malformed, Value

T = TypeVar("T")

INT_MAX: Final = 2**63 - 1

# Control characters (Cc), and the characters that reorder or hide text around them.
_FORBIDDEN: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)


@dataclass(frozen=True, slots=True)
class Size:
    """Length of a byte string: exactly `low`, or `low` to `high`."""

    low: int
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """At most so many code points, NFC, without control or bidirectional characters."""

    most: int


@dataclass(frozen=True, slots=True)
class Verbatim:
    """At most so many code points of any kind: paths and messages that stay on this machine."""

    most: int


@dataclass(frozen=True, slots=True)
class Range:
    """An integer from `low` to `high`, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Count:
    """How many items an array may have."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class _Codec:
    to_value: Callable[[Any], Value]
    from_value: Callable[[Value], Any]


def pack(message: Any) -> list[Value]:  # noqa: ANN401 - any dataclass of ours
    """The message's fields, in order."""
    return [codec.to_value(getattr(message, name)) for name, codec in _codecs(type(message))]


def unpack(cls: type[T], values: list[Value]) -> T:
    """The message of class `cls` whose fields are `values`. Raises Malformed."""
    codecs = _codecs(cls)
    if len(values) != len(codecs):
        raise Malformed(reason=f"{len(values)} fields where {len(codecs)} belong")
    return cls(*[codec.from_value(value) for (_, codec), value in zip(codecs, values, strict=True)])


_COMPILED: Final[dict[type[Any], tuple[tuple[str, _Codec], ...]]] = {}


def _codecs(cls: type[Any]) -> tuple[tuple[str, _Codec], ...]:
    codecs = _COMPILED.get(cls)
    if codecs is None:
        hints = get_type_hints(cls, include_extras=True)
        codecs = tuple((field.name, _codec(hints[field.name])) for field in fields(cls))
        _COMPILED[cls] = codecs
    return codecs


def _codec(hint: Any) -> _Codec:  # noqa: ANN401 - an annotation
    if get_origin(hint) is Annotated:
        inner, *rules = get_args(hint)
        return _codec_of(inner, rules[0] if rules else None)
    return _codec_of(hint, None)


def _codec_of(hint: Any, rule: Any) -> _Codec:  # noqa: ANN401 - an annotation and its metadata
    while isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _union(hint, rule)
    if origin is tuple:
        return _tuple(hint, rule)
    if origin is Literal:
        return _Codec(_same, _literal_check(get_args(hint)))
    if hint is bytes:
        return _Codec(_same, _bytes_check(rule))
    if hint is str:
        return _Codec(_same, _text_check(rule))
    if hint is bool:
        return _Codec(_same, _bool)
    if hint is int:
        return _Codec(_same, _int_check(rule))
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return _Codec(int, _enum_check(hint))
    return _Codec(pack, lambda value: unpack(hint, _list(value)))


def _same(value: Value) -> Value:
    return value


def _union(hint: Any, rule: Any) -> _Codec:  # noqa: ANN401 - an annotation and its metadata
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    optional = len(kinds) < len(get_args(hint))
    codecs = [(kind, _codec_of(kind, rule) if rule else _codec(kind)) for kind in kinds]
    if len(codecs) == 1:
        codec = codecs[0][1]
        return _Codec(
            lambda value: None if value is None else codec.to_value(value),
            lambda value: None if value is None else codec.from_value(value),
        )

    def from_value(value: Value) -> Any:  # noqa: ANN401 - one of the union's kinds
        if value is None and optional:
            return None
        for kind, codec in codecs:
            # bool is an int to Python, never to us.
            base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
            if type(value) is base:
                return codec.from_value(value)
        raise Malformed(reason="a value of a type that may not stand there")

    return _Codec(_same, from_value)


def _tuple(hint: Any, rule: Count | None) -> _Codec:  # noqa: ANN401 - an annotation
    kinds = get_args(hint)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        codec = _codec(kinds[0])
        assert rule is not None, f"{hint} needs a Count: everything has a limit"

        def from_value(value: Value) -> tuple[Any, ...]:
            items = _list(value)
            if not rule.low <= len(items) <= rule.high:
                raise Malformed(reason=f"{len(items)} items where {rule.low} to {rule.high} may be")
            return tuple(codec.from_value(item) for item in items)

        return _Codec(lambda items: [codec.to_value(item) for item in items], from_value)
    codecs = [_codec(kind) for kind in kinds]

    def fixed(value: Value) -> tuple[Any, ...]:
        items = _list(value)
        if len(items) != len(codecs):
            raise Malformed(reason=f"{len(items)} items where {len(codecs)} belong")
        return tuple(codec.from_value(item) for codec, item in zip(codecs, items, strict=True))

    return _Codec(
        lambda items: [codec.to_value(item) for codec, item in zip(codecs, items, strict=True)],
        fixed,
    )


def _list(value: Value) -> list[Value]:
    if not isinstance(value, list):
        raise Malformed(reason="something else where an array belongs")
    return value


def _bytes_check(rule: Size | None) -> Callable[[Value], bytes]:
    low = rule.low if rule else 0
    high = (rule.low if rule.high is None else rule.high) if rule else 2**32

    def check(value: Value) -> bytes:
        if not isinstance(value, bytes) or not low <= len(value) <= high:
            raise Malformed(reason="something else where bytes of a set length belong")
        return value

    return check


def _text_check(rule: Text | Verbatim | None) -> Callable[[Value], str]:
    most = rule.most if rule else 2**32

    def check(value: Value) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise Malformed(reason="something else where a text belongs, or too long a text")
        if not isinstance(rule, Verbatim) and not is_plain_text(value):
            raise Malformed(reason="a text with control characters, or not in NFC")
        return value

    return check


def _literal_check(texts: tuple[str, ...]) -> Callable[[Value], str]:
    def check(value: Value) -> str:
        if not isinstance(value, str) or value not in texts:
            raise Malformed(reason="something else where one of a few words belongs")
        return value

    return check


def is_plain_text(text: str) -> bool:
    """NFC, and nothing that could hide or reorder what stands around it."""
    if text.isascii():
        return text.isprintable()
    if _FORBIDDEN.intersection(text) or any(unicodedata.category(char) == "Cc" for char in text):
        return False
    return unicodedata.is_normalized("NFC", text)


def one_line(text: str) -> str:
    """What a person typed, in the form that records carry: NFC, single spaces, none at the ends."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _bool(value: Value) -> bool:
    if not isinstance(value, bool):
        raise Malformed(reason="something else where true or false belongs")
    return value


def _int_check(rule: Range | None) -> Callable[[Value], int]:
    low, high = (rule.low, rule.high) if rule else (-INT_MAX - 1, INT_MAX)

    def check(value: Value) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Malformed(reason="something else where a number in its range belongs")
        return value

    return check


def _enum_check(kind: type[IntEnum]) -> Callable[[Value], IntEnum]:
    known = {int(member): member for member in kind}

    def check(value: Value) -> IntEnum:
        if isinstance(value, bool) or not isinstance(value, int) or value not in known:
            raise Malformed(reason=f"no {kind.__name__} has that number")
        return known[value]

    return check
