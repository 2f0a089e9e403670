"""`python -m p2phouse` is the command line."""

from p2phouse.cli import main

main()
