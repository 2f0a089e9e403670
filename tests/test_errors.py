from p2phouse.errors import UserError


class PortInUse(UserError):
    """UDP port {port} is taken by another program.
    Start with --port 0 to pick a free one."""


def test_an_error_reads_as_its_docstring_filled_with_its_facts():
    assert str(PortInUse(port=4001)) == (
        "UDP port 4001 is taken by another program. Start with --port 0 to pick a free one."
    )
