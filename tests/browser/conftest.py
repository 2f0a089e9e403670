"""Nodes of this machine alone, with and without a page; a page whose node is made up."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.chromium import chromium
from tests.browser.people import PageNode
from tests.browser.screens import GRANTED
from tests.browser.stand_in import StandIn, stand_in
from tests.e2e.nodes import ProcessNode, making_nodes


@pytest.fixture
def make(tmp_path) -> Iterator[Callable[..., Any]]:
    """make("ana", page=True): a node of this machine alone. All are ended after the test."""
    with making_nodes(tmp_path) as make_any:

        def make(name: str, *, page: bool = False, named: str | None = None) -> ProcessNode:
            kind = PageNode if page else ProcessNode
            return make_any(name, "--loopback", kind=kind, called=named)

        yield make


@pytest.fixture
def node() -> Iterator[StandIn]:
    with stand_in() as its:
        yield its


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(GRANTED) as its:
        yield its
