"""Instances of our wire dataclasses for Hypothesis, read off their annotations."""

import types
import typing
import unicodedata
from dataclasses import fields
from enum import IntEnum
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from p2phouse.record.cbor import Value
from p2phouse.record.schema import Count, Range, Size, Text, Verbatim, is_plain_text

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1)


def instances(cls):
    """Any message of the class that its schema allows."""
    hints = get_type_hints(cls, include_extras=True)
    return st.builds(cls, **{field.name: fitting(hints[field.name]) for field in fields(cls)})


def fitting(hint, rule=None):
    """Any value that the annotation allows."""
    if get_origin(hint) is Annotated:
        inner, rule, *_ = get_args(hint)
        return fitting(inner, rule)
    while isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return st.one_of([fitting(kind, rule) for kind in get_args(hint)])
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin is tuple:
        kinds = get_args(hint)
        if kinds[-1] is Ellipsis:
            assert isinstance(rule, Count)
            items = st.lists(fitting(kinds[0]), min_size=rule.low, max_size=rule.high)
            return items.map(tuple)
        return st.tuples(*[fitting(kind) for kind in kinds])
    if hint is type(None):
        return st.none()
    if hint is bool:
        return st.booleans()
    if hint is bytes:
        return st.binary(**_sizes(rule))
    if hint is str:
        return _texts(rule)
    if hint is int:
        return st.integers(rule.low, rule.high) if isinstance(rule, Range) else INT64
    if issubclass(hint, IntEnum):
        return st.sampled_from(list(hint))
    return instances(hint)


def _sizes(rule):
    if not isinstance(rule, Size):
        return {}
    return {"min_size": rule.low, "max_size": rule.low if rule.high is None else rule.high}


def _texts(rule):
    most = rule.most if isinstance(rule, Text | Verbatim) else 100
    if isinstance(rule, Verbatim):
        return st.text(max_size=most)
    texts = st.text(max_size=most).map(lambda text: unicodedata.normalize("NFC", text))
    return texts.filter(lambda text: len(text) <= most and is_plain_text(text))


def _containers(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    keys = st.one_of(UINT64, st.text(max_size=8))
    return st.one_of(st.lists(inner, max_size=8), st.dictionaries(keys, inner, max_size=8))


SCALARS: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    UINT64,
    UINT64.map(lambda number: -1 - number),
    st.binary(max_size=300),
    st.text(max_size=100),
)


def values_within(depth: int) -> st.SearchStrategy[Value]:
    """Any value of the profile with at most so many containers inside one another."""
    return SCALARS if depth == 0 else st.one_of(SCALARS, _containers(values_within(depth - 1)))


VALUES = values_within(8)
