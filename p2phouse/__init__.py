"""p2phouse: live audio rooms with no company in the middle."""

__version__ = "0.1.0"
