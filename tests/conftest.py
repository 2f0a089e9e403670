"""What holds for all tests."""

from hypothesis import settings

# Hypothesis gives an example 200 ms, and calls a test flaky of which one took longer. On a busy
# machine that says nothing of the property; what has a time to keep measures it itself.
settings.register_profile("p2phouse", deadline=None)
settings.load_profile("p2phouse")
