"""When packets of several voices go together: it costs delay and about halves the load. Pure."""

from typing import Final

ABOVE_PERMILLE: Final = 600  # of a core
# Voices that go together cost a little over half: only far below may they go singly again.
KEEPS: Final = 0.5
REPORTS: Final = 3  # that say so, one a second: joins load us too, and are over sooner


class Thrift:
    """Tell it the load once a second."""

    def __init__(self, above_permille: int = ABOVE_PERMILLE) -> None:
        """above_permille: 0: always."""
        self._above = above_permille
        self._reports = 0  # in a row that say otherwise
        self.together = above_permille == 0

    def hear(self, permille: int) -> None:
        wanted = permille >= (self._above * KEEPS if self.together else self._above)
        self._reports = 0 if wanted is self.together else self._reports + 1
        if self._reports >= REPORTS:
            self._reports = 0
            self.together = wanted
