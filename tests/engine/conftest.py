"""Media processes that end with their test."""

import pytest

from tests.engine.child import MediaChild


@pytest.fixture
def make_child():
    made: list[MediaChild] = []

    def make(name="media", **options):
        made.append(MediaChild(name, **options))
        return made[-1]

    yield make
    for child in made:
        if child.process.poll() is None:
            child.end()
        elif child.process.stderr and not child.process.stderr.closed:
            child.process.stderr.close()
            child.socket.close()
