"""What a relay shows of itself at https://HOST/.well-known/p2phouse: its policy, as bytes.

The certificate proves the name that the person typed, which plain UDP cannot; the record proves
itself. One question, one bounded answer; no other place is gone to.
"""

import ssl
from typing import Final

import h11
import trio

from p2phouse.errors import UserError
from p2phouse.record.types import Policy

PATH: Final = "/.well-known/p2phouse"
ANSWERS_S_MAX: Final = 10.0  # TCP, TLS and one answer; three round trips of a bad line and a retry
HEAD_BYTES_MAX: Final = 16 * 1024

# OpenSSL's numbers of what is wrong with a certificate (x509_vfy.h) that a person can act on.
EXPIRED: Final = 10
NOT_YET: Final = 9
OTHER_NAME: Final = 62


class SiteSilent(UserError):
    """{host} does not answer by HTTPS ({reason}). Check the spelling; if it is a relay without a
    web address, leave out https://."""


class CertificateOver(UserError):
    """The certificate of {host} has run out, so nobody can tell whether it is {host} that answers.
    Tell who runs it; if others work, check this machine's clock."""


class CertificateNotYet(UserError):
    """The certificate of {host} is not good yet. Check this machine's clock."""


class CertificateOfAnother(UserError):
    """Who answers at {host} has a certificate for another name. Check the spelling; if it is right,
    somebody may stand between you and {host}."""


class CertificateUnknown(UserError):
    """Nobody whom this machine trusts vouches for the certificate of {host} ({reason}). If it is
    right that it is its own, leave out https://: then its key is taken from its first answer."""


class NoRelayThere(UserError):
    """{host} answers, but no relay does ({reason}). Check the spelling, or ask who runs it."""


async def fetch(host: str, port: int, context: ssl.SSLContext | None = None) -> bytes:
    """The record, unread. context: whom to trust; the system's if None. Raises UserError."""
    context = context or ssl.create_default_context()
    try:
        with trio.fail_after(ANSWERS_S_MAX):
            stream = await trio.open_ssl_over_tcp_stream(
                host, port, https_compatible=True, ssl_context=context
            )
            async with stream:
                return await _asked(stream, host)
    except trio.TooSlowError as error:
        raise SiteSilent(host=host, reason="it takes too long") from error
    except (OSError, trio.BrokenResourceError) as error:
        raise _trouble(host, error) from error


async def _asked(stream: trio.abc.Stream, host: str) -> bytes:
    """Raises NoRelayThere, and what the stream raises."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
    headers = [("host", host), ("accept", "application/cbor"), ("connection", "close")]
    ask = h11.Request(method="GET", target=PATH, headers=headers)
    await stream.send_all(
        (connection.send(ask) or b"") + (connection.send(h11.EndOfMessage()) or b"")
    )
    body = bytearray()
    try:
        while not isinstance(
            event := connection.next_event(), h11.EndOfMessage | h11.ConnectionClosed
        ):
            match event:
                case h11.NEED_DATA:
                    connection.receive_data(bytes(await stream.receive_some()))
                case h11.Response(status_code=status) if status != 200:
                    # Security: nowhere else is gone to, whatever it says: the person typed a name.
                    raise NoRelayThere(host=host, reason=f"HTTP {status}")
                case h11.Data(data=data):
                    body += data
            if len(body) > Policy.SIZE_MAX:
                raise NoRelayThere(host=host, reason="what it shows is too long")
    except h11.RemoteProtocolError as error:
        raise NoRelayThere(host=host, reason="it speaks no HTTP") from error
    return bytes(body)


def _trouble(host: str, error: BaseException) -> UserError:
    """In words a person can act on; trio wraps what TLS said."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if not isinstance(cause, ssl.SSLCertVerificationError):
        reason = getattr(cause, "strerror", None) or "it broke off"
        return SiteSilent(host=host, reason=str(reason).lower())
    match cause.verify_code:
        case code if code == EXPIRED:
            return CertificateOver(host=host)
        case code if code == NOT_YET:
            return CertificateNotYet(host=host)
        case code if code == OTHER_NAME:
            return CertificateOfAnother(host=host)
    return CertificateUnknown(host=host, reason=cause.verify_message)
