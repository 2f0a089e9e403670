"""Waits of trio for what has no event, as the inside of a node that runs on."""

import pytest
import trio

HAPPENS_S = 40.0


async def until(holds, what: str) -> None:
    """Once it holds."""
    with trio.move_on_after(HAPPENS_S):
        while not holds():  # noqa: ASYNC110 - nothing tells of the inside of two nodes at once
            await trio.sleep(0.05)
        return
    pytest.fail(f"not within {HAPPENS_S} s: {what}")
