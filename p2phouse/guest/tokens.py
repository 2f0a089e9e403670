"""The token of a guest who may speak among nodes: a seed as text, of which the keys are made.

Whoever runs the room writes into its log that the person with these keys may speak, and gives the
token away. A relay that is shown it has the keys, and speaks as that person for the guest.
"""

import base64
import binascii
from typing import Final

from p2phouse.identity.keys import make_identity, of_seed
from p2phouse.vocabulary import Now, UserKey

SEED_BYTES: Final = 32


def write(seed: bytes) -> str:
    return base64.urlsafe_b64encode(seed).decode().rstrip("=")


def read(text: str) -> bytes | None:
    """None if it is none."""
    try:
        seed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return seed if len(seed) == SEED_BYTES else None


def person_of(seed: bytes, now: Now) -> UserKey:
    """Whose the keys are that are made of it."""
    return make_identity(now=now, entropy=of_seed(seed)).uid
