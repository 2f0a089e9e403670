"""`python -m p2phouse_relay` is the relay's command line."""

from p2phouse_relay.cli import main

main()
