"""A closed room and who comes to it."""

import pytest

from tests.room.door.knocking import closed_room, with_a_listener
from tests.room.table import Person, Table


@pytest.fixture
def table() -> Table:
    return closed_room()


@pytest.fixture
def ann(table: Table) -> Person:
    return table.person()


@pytest.fixture
def inside() -> tuple[Table, Table]:
    return with_a_listener()
