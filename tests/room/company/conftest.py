"""An open room of our own, and somebody who comes to it."""

import pytest

from tests.room.table import Person, Table


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open()
    return table


@pytest.fixture
def ann(table: Table) -> Person:
    return table.person()
