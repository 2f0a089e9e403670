"""Who I am: a root key that signs the list of my devices, and this device's keys.

Both are made silently on the first run and kept in one file of the home, `identity.cbor`:
`[1, root seed, device seed, X25519 seed, Olm seed, signed identity record]`.
"""

import base64
import itertools
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Final

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from p2phouse.errors import P2PHouseError, PeerError, UserError
from p2phouse.identity.keyfile import read_private, write_atomically
from p2phouse.record import cbor, envelope, limits
from p2phouse.record.envelope import Signed
from p2phouse.record.schema import is_plain_text, one_line
from p2phouse.record.types import Identity, IdentityDevice
from p2phouse.vocabulary import DeviceKey, Entropy, Now, UserKey

FILE_NAME: Final = "identity.cbor"
FILE_VERSION: Final = 1
SEED_BYTES: Final = 32

# A PeerId of an Ed25519 key is the key itself behind a fixed head: identity multihash (00 24) of a
# protobuf with an Ed25519 key (08 01 12 20).
# Spec: https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
PEER_ID_PREFIX: Final = bytes.fromhex("002408011220")
BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class IdentityDamaged(UserError):
    """Your identity in {path} is damaged ({reason}) and was left as it is.
    Restore it from a backup, or move it away to begin as somebody new."""


class NameUnusable(UserError):
    """A name has {limit} characters at most, and neither control characters nor ones that turn
    the direction of text. Choose another with --name."""


@dataclass(slots=True)
class Me:
    """My keys and my signed identity record. Prints without a secret.

    The keys never change; the record does when I take another name, between rooms.
    """

    root_key: SigningKey = field(repr=False)
    device_key: SigningKey = field(repr=False)
    seal_key: PrivateKey = field(repr=False)
    olm_key: PrivateKey = field(repr=False)
    record: Signed[Identity]

    @property
    def uid(self) -> UserKey:
        return UserKey(bytes(self.root_key.verify_key))

    @property
    def dev(self) -> DeviceKey:
        return DeviceKey(bytes(self.device_key.verify_key))

    @property
    def name(self) -> str:
        return self.record.record.name


def make_identity(*, now: Now, entropy: Entropy, name: str = "") -> Me:
    """Somebody new. Raises NameUnusable."""
    return _sign(
        SigningKey(entropy(SEED_BYTES)),
        SigningKey(entropy(SEED_BYTES)),
        PrivateKey(entropy(SEED_BYTES)),
        PrivateKey(entropy(SEED_BYTES)),
        now=now,
        name=_usable(name),
        seq=0,
    )


def of_seed(seed: bytes) -> Entropy:
    """Chance that whoever has the seed has as well: what is made of it is made of it again."""
    parts = itertools.count()

    def entropy(size: int) -> bytes:
        context = b"p2phouse/1/seed" + next(parts).to_bytes(4)
        return blake2b(context, key=seed, digest_size=size).digest()

    return entropy


def _usable(name: str) -> str:
    name = one_line(name)
    if len(name) > limits.NAME_CODE_POINTS_MAX or not is_plain_text(name):
        raise NameUnusable(limit=limits.NAME_CODE_POINTS_MAX)
    return name


def load_or_create(home: Path, *, now: Now, entropy: Entropy, name: str = "") -> Me:
    """Who the home says I am; somebody new if it says nothing.

    name: taken on if given. Renews the record in its last 30 days. Raises UserError.
    """
    path, name = home / FILE_NAME, _usable(name)
    try:
        data = read_private(path)
    except FileNotFoundError:
        me = make_identity(now=now, entropy=entropy, name=name)
        write_atomically(path, _encode(me))
        return me
    me = _decode(path, data)
    record = me.record.record
    renamed = bool(name) and name != record.name
    # A record from the future was made under a wrong clock: others refuse it until then.
    early = record.created > now.unix + limits.CLOCK_SKEW_S_MAX
    if renamed or early or record.exp - now.unix < limits.IDENTITY_RENEW_S:
        me = _sign(
            me.root_key,
            me.device_key,
            me.seal_key,
            me.olm_key,
            now=now,
            name=name or record.name,
            seq=record.seq + 1,  # never back: others keep the highest they saw
        )
        write_atomically(path, _encode(me))
    return me


def _sign(
    root_key: SigningKey,
    device_key: SigningKey,
    seal_key: PrivateKey,
    olm_key: PrivateKey,
    *,
    now: Now,
    name: str,
    seq: int,
) -> Me:
    created = int(now.unix)
    expires = created + limits.IDENTITY_LIFE_S
    device = IdentityDevice(
        dev=bytes(device_key.verify_key),
        xpk=bytes(seal_key.public_key),
        olm=bytes(olm_key.public_key),
        added=created,
        exp=expires,
    )
    identity = Identity(
        uid=bytes(root_key.verify_key),
        seq=seq,
        name=name,
        devices=(device,),
        created=created,
        exp=expires,
        relays=(),
    )
    return Me(root_key, device_key, seal_key, olm_key, envelope.sign(identity, root_key))


def _encode(me: Me) -> bytes:
    return cbor.encode(
        [
            FILE_VERSION,
            bytes(me.root_key),
            bytes(me.device_key),
            bytes(me.seal_key),
            bytes(me.olm_key),
            me.record.data,
        ]
    )


def _decode(path: Path, data: bytes) -> Me:
    try:
        value = cbor.decode(data, size_max=4_096)
    except PeerError as error:
        raise IdentityDamaged(path=path, reason="it does not read as CBOR") from error
    match value:
        case [int(version), bytes(root), bytes(device), bytes(seal), bytes(olm), bytes(record)]:
            pass
        case _:
            raise IdentityDamaged(path=path, reason="parts are missing")
    if version != FILE_VERSION:
        raise IdentityDamaged(path=path, reason=f"version {version} is not known to this program")
    try:
        me = Me(
            SigningKey(root),
            SigningKey(device),
            PrivateKey(seal),
            PrivateKey(olm),
            envelope.read(record, Identity),
        )
    except (P2PHouseError, ValueError, TypeError) as error:
        raise IdentityDamaged(path=path, reason="a key in it is damaged") from error
    ours = (me.dev, bytes(me.seal_key.public_key), bytes(me.olm_key.public_key))
    listed = [(each.dev, each.xpk, each.olm) for each in me.record.record.devices]
    if me.record.record.uid != me.uid or ours not in listed:
        raise IdentityDamaged(path=path, reason="its keys and its record do not belong together")
    return me


def key_tag(uid: UserKey | bytes) -> str:
    """Forty bits of a person's key to tell people apart by, as `xxxx-xxxx`."""
    text = base64.b32encode(sha256(uid).digest()[:5]).decode().lower()
    return f"{text[:4]}-{text[4:]}"


def peer_id(dev: DeviceKey | bytes) -> str:
    """The device's libp2p PeerId in base58, `12D3Koo…`."""
    number = int.from_bytes(PEER_ID_PREFIX + dev, "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = BASE58[digit] + digits
    return "1" + digits  # one leading zero byte


def device_of_peer_id(text: str) -> DeviceKey:
    """The device key inside a PeerId. Raises ValueError for any other text."""
    number = 0
    if not 40 <= len(text) <= 60 or not text.isascii():
        raise ValueError("no PeerId")
    for digit in text:
        number = number * 58 + BASE58.index(digit)
    raw = number.to_bytes(48, "big").lstrip(b"\0")
    prefix = PEER_ID_PREFIX.lstrip(b"\0")
    dev = DeviceKey(raw[len(prefix) :])
    # One key, one text: zeros at the front are lost above, and a length or prefix may be wrong.
    if len(dev) != SEED_BYTES or peer_id(dev) != text:
        raise ValueError("not the PeerId of an Ed25519 key")
    return dev
