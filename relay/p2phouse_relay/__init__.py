"""The volunteer relay: a daemon of its own that stands on p2phouse, never the other way round."""
