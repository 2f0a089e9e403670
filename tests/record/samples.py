"""True records of every type from fixed seeds, for tests, mutants and vectors."""

from hashlib import sha256

from nacl.signing import SigningKey

from p2phouse.record import envelope
from p2phouse.record.envelope import Signed
from p2phouse.record.types import (
    Access,
    Act,
    Admits,
    Audit,
    Beat,
    Bid,
    BidFlag,
    BidRow,
    Card,
    Chat,
    ChatKind,
    Claim,
    Entry,
    Epoch,
    EpochBox,
    Genesis,
    GrantOf,
    Hello,
    Identity,
    IdentityDevice,
    Invite,
    Join,
    Offer,
    Policy,
    Record,
    RelayGrant,
    Report,
    Soft,
    SoftKind,
    Speak,
)

UNIX = 1_800_000_000  # when all of it was made
LAN_ADDRESS = bytes.fromhex("04c0a80107064440")  # /ip4/192.168.1.7/tcp/17472
IP6_ADDRESS = bytes.fromhex("29fd000000000000000000000000000007064440")


def seed(name: str) -> bytes:
    """32 bytes that anybody can make again: the SHA-256 of a name."""
    return sha256(name.encode()).digest()


ROOT_KEY = SigningKey(seed("root"))
DEVICE_KEY = SigningKey(seed("device"))
OTHER_KEY = SigningKey(seed("other device"))
DEV = bytes(DEVICE_KEY.verify_key)
OTHER = bytes(OTHER_KEY.verify_key)

IDENTITY = Identity(
    uid=bytes(ROOT_KEY.verify_key),
    seq=3,
    name="Zoë",
    devices=(
        IdentityDevice(
            dev=DEV,
            xpk=seed("x25519"),
            olm=seed("olm"),
            added=UNIX - 86_400,
            exp=UNIX + 89 * 86_400,
        ),
    ),
    created=UNIX - 86_400,
    exp=UNIX + 89 * 86_400,
    relays=(),
)
IDENTITY_ID = envelope.sign(IDENTITY, ROOT_KEY).id
GENESIS = Genesis(
    uid=IDENTITY.uid,
    dev=DEV,
    idrec=IDENTITY_ID,
    nonce=seed("nonce")[:16],
    title="Café at nine",
    access=Access.OPEN,
    langs=("fr", "en-GB"),
    created=UNIX - 60,
    exp=UNIX - 60 + 43_200,
    relay=(),
    maxspk=16,
    exposure="direct",
    continues=seed("room before"),
)
SIGNED_GENESIS = envelope.sign(GENESIS, DEVICE_KEY)
ROOM = SIGNED_GENESIS.id
ENTRY = Entry(
    room=ROOM,
    uid=IDENTITY.uid,
    dev=DEV,
    idrec=IDENTITY_ID,
    auth=ROOM,
    prev=seed("entry before"),
    act=Act.ROLE,
    sub=seed("somebody"),
    val="muted",
    over=(seed("entry replaced"),),
    pin=None,
)
CARD = Card(
    genesis=SIGNED_GENESIS.data,
    grant=b"",
    dev=DEV,
    seq=1_800_000_000_000,
    created=UNIX,
    ttl=600,
    nspk=2,
    nlis=0,
    at=(LAN_ADDRESS, IP6_ADDRESS),
)
JOIN = Join(room=ROOM, dev=DEV, idrec=IDENTITY_ID, beat=None, ts=UNIX)
OFFER = Offer(
    room=ROOM,
    dev=DEV,
    to=OTHER,
    n=seed("offer")[:16],
    answer=None,
    ufrag="8hhY",
    pwd="asd88fgpdd777uzjYhagZg",
    fp=seed("certificate"),
    cands=("1 1 udp 2130706431 192.168.1.7 49203 typ host",),
    ts=UNIX,
)
SPEAK = Speak(
    room=ROOM, dev=DEV, sid=seed("voice")[:16], slot=5, created=UNIX, akey=seed("audit key")
)
SOFT = Soft(room=ROOM, dev=DEV, seq=7, kind=SoftKind.OWN_MUTE, val=True, ts=UNIX)
BEAT = Beat(room=ROOM, dev=DEV, count=1, digest=seed("entries"), en=0, ts=UNIX)
EPOCH = Epoch(
    room=ROOM,
    dev=DEV,
    by=OTHER,
    n=3,
    ratchet=True,
    parent=seed("epoch before"),
    rm=tuple(sorted((seed("a removal"), seed("another removal")))),
    commit=sha256(seed("secret")).digest(),
    boxes=(EpochBox(dev=OTHER, sealed=seed("sealed 1") + seed("sealed 2") + bytes(16)),),
)
CHAT = Chat(
    room=ROOM,
    uid=IDENTITY.uid,
    dev=DEV,
    idrec=IDENTITY_ID,
    n=1_800_000_000_000,
    kind=ChatKind.TEXT,
    ref=None,
    text="Grüße aus dem Café",
    ts=UNIX,
)
REPORT = Report(
    room=ROOM,
    uid=IDENTITY.uid,
    dev=DEV,
    idrec=IDENTITY_ID,
    about=seed("somebody"),
    text="This person threatens others.",
    evidence=(seed("a message"), seed("an entry")),
    ts=UNIX,
)
AUDIT_KEY = SigningKey(seed("audit key of a voice"))
AUDIT = Audit(
    akey=bytes(AUDIT_KEY.verify_key),
    block=88,
    run=2,
    tags=bytes(range(128)) + bytes(8),
    parity=bytes(8) + bytes(range(255, 127, -1)),
)
HELLO = Hello(nonce=seed("a") + seed("b"), versions=(1, 1), dev=DEV, addrs=(LAN_ADDRESS,))
INVITE = Invite(
    room=ROOM,
    uid=IDENTITY.uid,
    dev=DEV,
    idrec=IDENTITY_ID,
    nonce=seed("invite")[:16],
    exp=UNIX + 3_600,
    once=True,
)
CLAIM = Claim(room=ROOM, dev=DEV, epoch=3, cost=45, hub=DEV, standby=OTHER, ts=UNIX)
BID = Bid(
    room=ROOM,
    dev=DEV,
    seq=1_800_000_000_000,
    flags=int(BidFlag.CARRIES | BidFlag.MAINS),
    version=1,
    uptime_min=90,
    cap=30,
    rows=(BidRow(dev=OTHER, rtt_p50=12, rtt_p90=31, loss=4, served=600),),
    ts=UNIX,
)

POLICY = Policy(
    dev=DEV,
    uid=bytes(ROOT_KEY.verify_key),
    seq=1_800_000_000_000,
    name="relay of the choir",
    who="Chœur de la Mer, Saint-Malo",
    where="Saint-Malo, France",
    logs="no addresses, no names; counters for a week",
    rules="choirs and their guests",
    price="nothing",
    contact="relay@choeur.example",
    page="https://choeur.example",
    admits=Admits.LISTED,
    rooms=32,
    rooms_each=2,
    listeners=300,
    kbps=100_000,
    others=("relay.example.org:17472",),
    at=(LAN_ADDRESS,),
    created=UNIX,
    exp=UNIX + 30 * 86_400,
)
RELAY_GRANT = RelayGrant(
    by=DEV,
    of=GrantOf.PERSON,
    subject=bytes(ROOT_KEY.verify_key),
    relay=OTHER,
    listeners=200,
    kbps=20_000,
    created=UNIX,
    exp=UNIX + 180 * 86_400,
)

RECORDS: tuple[Record, ...] = (
    IDENTITY,
    GENESIS,
    ENTRY,
    CARD,
    JOIN,
    OFFER,
    SPEAK,
    SOFT,
    CHAT,
    BEAT,
    EPOCH,
    AUDIT,
    HELLO,
    REPORT,
    INVITE,
    CLAIM,
    BID,
    POLICY,
    RELAY_GRANT,
)


def key_of(record: Record) -> SigningKey:
    """The key that signs the sample."""
    match record:
        case Identity():
            return ROOT_KEY
        case Audit():
            return AUDIT_KEY
    return DEVICE_KEY


def signed(record: Record) -> Signed[Record]:
    return envelope.sign(record, key_of(record))
