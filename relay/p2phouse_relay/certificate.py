"""The relay's certificate: shown to who comes, looked at anew when its files change, never half.

Others renew it beside us, one file after the other. OpenSSL forgets its key when it is given a
certificate that does not fit, so a pair is tried apart before the listeners get it.
"""

import logging
import ssl
import time
from dataclasses import dataclass
from typing import Final

import trio
from cryptography import x509

from p2phouse.errors import UserError
from p2phouse_relay.settings import Tls

log = logging.getLogger(__name__)

LOOK_EACH_S: Final = 10.0
CERTIFICATE_DAYS_MIN: Final = 14  # certbot renews at thirty: with fewer left it has failed


class CertificateUnusable(UserError):
    """The certificate {path} cannot be used: {reason}. Look at [tls] in relay.toml."""


@dataclass(frozen=True, slots=True)
class Facts:
    """names: for which it is good."""

    ends_unix: float
    names: tuple[str, ...]

    def days(self, unix: float) -> float:
        return (self.ends_unix - unix) / 86_400


class Certificate:
    """`context` is what listeners speak TLS by; `run` keeps it as the files are."""

    def __init__(self, tls: Tls) -> None:
        """Raises CertificateUnusable."""
        self._tls = tls
        self._seen = self._stamp()
        self.context, self.facts = _loaded(tls)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(LOOK_EACH_S)
            stamp = self._stamp()
            if stamp != self._seen:
                self._take(stamp)

    def _take(self, stamp: tuple[tuple[int, int], ...]) -> None:
        try:
            _, self.facts = _loaded(self._tls)
            self.context.load_cert_chain(self._tls.certificate, self._tls.key)
        except (CertificateUnusable, OSError) as error:  # the other half comes in a moment
            log.warning("certificate_not_taken error=%s", error)
            return
        self._seen = stamp
        log.info("certificate_taken days=%.0f", self.facts.days(time.time()))

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        """Of the files behind any links, which certbot points elsewhere."""
        found = []
        for path in (self._tls.certificate, self._tls.key):
            try:
                its = path.stat()
            except OSError:
                found.append((0, 0))
            else:
                found.append((its.st_ino, its.st_mtime_ns))
        return tuple(found)


def _loaded(tls: Tls) -> tuple[ssl.SSLContext, Facts]:
    """Raises CertificateUnusable."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        found = x509.load_pem_x509_certificate(tls.certificate.read_bytes())
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "strerror", None) or "it is no pair of certificate and key"
        raise CertificateUnusable(path=tls.certificate, reason=reason) from error
    try:
        named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(named.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        names = ()
    return context, Facts(found.not_valid_after_utc.timestamp(), names)


def facts_of(tls: Tls) -> Facts:
    """Raises CertificateUnusable."""
    return _loaded(tls)[1]
