"""What a test needs that not every machine has: it is skipped without, but in CI it fails."""

import os
from ipaddress import ip_address

import pytest

from p2phouse.net import ports


def need(is_here: object, remedy: str) -> None:
    """Goes on if it is here. In CI it has to be, so that nothing is skipped there unseen."""
    if is_here:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(remedy)
    pytest.skip(remedy)


def need_ipv6() -> None:
    need(ports.is_ready(ip_address("::1")), "needs IPv6 on this machine")
