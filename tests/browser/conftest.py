"""Nodes of this machine alone, with and without a page; a page whose node is made up."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import chromium
from tests.browser.people import PageNode
from tests.browser.screens import GRANTED
from tests.browser.stand_in import StandIn, stand_in
from tests.e2e.nodes import ProcessNode


@pytest.fixture
def make(tmp_path) -> Iterator[Callable[..., Any]]:
    """make("ana", page=True): a node of this machine alone. All are ended after the test."""
    made: list[ProcessNode] = []
    folder = Path(tempfile.mkdtemp(prefix="p2ph-"))  # a socket's path may not be long

    def start(name: str, *, page: bool = False, named: str | None = None) -> ProcessNode:
        kind = PageNode if page else ProcessNode
        options = ["--loopback", "--name", name if named is None else named]
        node = kind(tmp_path / name, folder / "run", *options)
        made.append(node)
        node.start()
        return node

    yield start
    for node in made:
        node.stop()
    shutil.rmtree(folder)


@pytest.fixture
def node() -> Iterator[StandIn]:
    with stand_in() as its:
        yield its


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(GRANTED) as its:
        yield its
