"""The three families of errors, named by who can act.

A class's docstring *is* its message: `{names}` in it are filled from the keyword arguments the
error was raised with. It says what happened, then what to do.
"""

import inspect


class P2PHouseError(Exception):
    """Something went wrong in p2phouse."""

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        super().__init__(facts)

    def __str__(self) -> str:
        text = " ".join(inspect.getdoc(type(self)).split())  # type: ignore[union-attr]  # every class has one
        return text.format_map(self.facts)


class UserError(P2PHouseError):
    """The person at the keyboard can fix this."""


class PeerError(P2PHouseError):
    """A peer broke the protocol: {reason}."""


class LinkError(P2PHouseError):
    """The network failed: {reason}. Retry, or take another route."""
