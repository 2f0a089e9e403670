"""How often a peer may do something, and what an honest one needs."""

import math
from dataclasses import dataclass, field


@dataclass(slots=True)
class Allowance:
    """How often a peer may do something: `burst` times at once, then once each `each_s`."""

    burst: int
    each_s: float
    _spent: float = 0.0
    _at: float = -math.inf

    def take(self, now_mono: float) -> bool:
        """False if it has been used up."""
        self._spent = max(0.0, self._spent - (now_mono - self._at) / self.each_s)
        self._at = now_mono
        if self._spent + 1.0 > self.burst:
            return False
        self._spent += 1.0
        return True


@dataclass(slots=True)
class Pace:
    """What an honest device may need, with room to spare: it is killed and comes back, a person
    mutes by hand, eight who join at once make a few new voices each, a link is offered anew after
    0.5 s and then less and less."""

    joins: Allowance = field(default_factory=lambda: Allowance(16, 5.0))
    frames: Allowance = field(default_factory=lambda: Allowance(64, 0.1))
    spare_frames: Allowance = field(default_factory=lambda: Allowance(512, 0.01))  # passed over
    voices: Allowance = field(default_factory=lambda: Allowance(16, 4.0))
    offers: Allowance = field(default_factory=lambda: Allowance(16, 2.0))
    compares: Allowance = field(default_factory=lambda: Allowance(8, 2.0))
    beats: Allowance = field(default_factory=lambda: Allowance(8, 4.0))
    claims: Allowance = field(default_factory=lambda: Allowance(16, 0.5))
    bids: Allowance = field(default_factory=lambda: Allowance(64, 0.1))  # it passes on others'
    own_bids: Allowance = field(default_factory=lambda: Allowance(8, 2.0))
    keys: Allowance = field(default_factory=lambda: Allowance(8, 2.0))
    softs: Allowance = field(default_factory=lambda: Allowance(32, 0.25))
    relayed: Allowance = field(default_factory=lambda: Allowance(16, 1.0))  # of a listener, by us
    relayed_chats: Allowance = field(default_factory=lambda: Allowance(32, 1.0))
    news: Allowance = field(default_factory=lambda: Allowance(16, 0.5))
    seeks: Allowance = field(default_factory=lambda: Allowance(16, 1.0))
    reactions: Allowance = field(default_factory=lambda: Allowance(4, 1.0))
    chats: Allowance = field(default_factory=lambda: Allowance(1_200, 0.1))  # all that is kept
    histories: Allowance = field(default_factory=lambda: Allowance(4, 15.0))
    reports: Allowance = field(default_factory=lambda: Allowance(4, 60.0))
