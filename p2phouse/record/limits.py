"""Every limit on what peers may send, in one place, each with its reason."""

from typing import Final

CLOCK_SKEW_S_MAX: Final = 120  # home machines without NTP drift by a minute; records live longer
ROOM_LIFE_S_MAX: Final = 43_200  # twelve hours: then a successor, so no log grows for ever
BEAT_LIFE_S: Final = 60  # three beats; what a log lacks is noticed within it
IDENTITY_LIFE_S: Final = 90 * 86_400  # a lost device's record runs out by itself
IDENTITY_RENEW_S: Final = 30 * 86_400

TITLE_CODE_POINTS_MAX: Final = 80
TITLE_BYTES_MAX: Final = 80  # the genesis must fit into a card
NAME_CODE_POINTS_MAX: Final = 40
DEVICES_MAX: Final = 8
SPEAKERS_MAX: Final = 16  # slots are four bits of the SFrame KID
MESH_MEMBERS_MAX: Final = 8  # above, uplinks and NATs end a mesh
ROOM_MEMBERS_MAX: Final = 32  # who are linked with one another; each greeting names them all
LISTENERS_MAX: Final = 512  # with links to one hub; its media links are fewer
PEOPLE_MAX: Final = 1_000_000  # that anybody may say a room has
NEWS_BYTES_MAX: Final = 4_096  # a second, to a phone: 33 kb/s

ADDRS_MAX: Final = 4
ADDR_BYTES_MAX: Final = 64  # a circuit address with two PeerIds is the longest
CARD_ADDRS_MAX: Final = 4
CARD_TTL_S_MAX: Final = 600  # refreshed each 240 s: two may be lost
ROOMS_CACHED_MAX: Final = 2_000
DHT_CARDS_MAX: Final = 2_000  # kept for others: 10 MB
DHT_MESSAGE_BYTES_MAX: Final = 8_192  # a card and twenty peers with their addresses are 6 kB
DHT_KEY_BYTES_MAX: Final = 80  # "/p2phouse/" and an id in hexadecimal are 74
ENTRIES_PER_ROOM_MAX: Final = 2_048  # all hands of a busy evening; 600 kB
ENTRIES_PER_SEAT_MAX: Final = 512  # one person cannot fill a room's log
ENTRIES_ASIDE_MAX: Final = 256  # that wait for another record: anybody can make these
GRANTS_PER_ROOM_MAX: Final = 64
OVER_MAX: Final = 8  # entries that one entry replaces: as many as concurred

EPOCH_NUMBER_MAX: Final = 65_535  # one a second for longer than a room lives
EPOCH_RATCHETS_MAX: Final = 1_024  # after one epoch of chance: one a minute, and to spare
EPOCH_REMOVALS_MAX: Final = 256  # of more an epoch names the digest
EPOCH_BOXES_MAX: Final = 64  # in one record; more devices, more records
EPOCHS_OF_ONE_MAX: Final = 8  # known of one signer: nobody fills another's memory

CANDIDATES_MAX: Final = 8
CANDIDATE_CHARS_MAX: Final = 160

CHAT_CODE_POINTS_MAX: Final = 500
CHAT_TEXT_BYTES_MAX: Final = 720  # in UTF-8: with four keys and a signature 1,024 bytes
PIN_CODE_POINTS_MAX: Final = 200
CHAT_KEPT_MAX: Final = 500  # messages of a room; half a megabyte
CHAT_KEPT_PER_AUTHOR_MAX: Final = 100  # nobody drives out what the others say
MODS_KEPT_MAX: Final = 200
PINS_KEPT_MAX: Final = 60  # of which so many are shown:
PINS_SHOWN_MAX: Final = 3
TAKEN_BACK_MAX: Final = (
    4  # deletes kept of one message: its author's, and of three who run the room
)
CHAT_ASIDE_MAX: Final = 256  # deletes whose message we lack: anybody can make these
CHAT_BURST_MAX: Final = 5  # a person's messages at once; then one each second
SLOW_MODE_S_MAX: Final = 3_600

REPORT_CODE_POINTS_MAX: Final = 500
EVIDENCE_MAX: Final = 16  # records that a report names
REPORT_BYTES_MAX: Final = 15_000  # with its evidence; with its head a frame of 16 KiB
REPORTS_KEPT_MAX: Final = 50

AUDIT_FRAMES: Final = 17  # frames in one audit: 340 ms, so at most 3 a second
AUDIT_TAG_BYTES: Final = 8  # 2^64 tries for one frame, while speech waits for nobody
AUDIT_REACH: Final = 6  # blocks back that a parity helps: 2 s of the 3 within which all is proved

HELLO_BYTES: Final = 512  # a request as long as any answer, so nobody can amplify by us
ROOM_FRAME_BYTES_MAX: Final = 16 * 1_024

TOPIC_CODE_POINTS_MAX: Final = 64  # what a raised hand is about, in one line
GUESTS_TOLD_MAX: Final = 65_535  # through one relay; a larger count is none that we could show
REACTION_CODE_POINTS_MAX: Final = 8  # one emoji with its joiners, not a message
HANDS_MAX: Final = 20  # a longer queue is no queue
SOFT_TTL_S: Final = 15  # told again each 5 s: two may be lost
LOBBY_WAITING_MAX: Final = 16  # twice the people a mesh holds
LOBBY_SHOWING_MAX: Final = 8  # more who may show that they are let in without waiting
LOBBY_REFUSED_MAX: Final = 256  # people whose knock is not passed on for a minute
MET_MAX: Final = 4_096  # people who were in a room with us; who went first is forgotten
LOBBY_S_MAX: Final = 600  # whoever runs the room is busy talking; later one knocks again
ADMITTED_BY_SEAT_MAX: Final = 256  # by policy: half of a seat's entries stay for its holder
FOLLOWING_MAX: Final = 1_024  # more than anybody knows; the file is read at every start
INVITES_KEPT_MAX: Final = 256  # single-use invites of one device that nobody has used yet

CLAIM_EPOCH_MAX: Final = 65_535  # one a second for longer than a room lives
COST_MAX: Final = 65_535
BID_ROWS_MAX: Final = 8  # members of a mesh; in a larger room those who might carry it

POLICY_CODE_POINTS_MAX: Final = 160  # of one line of it: a sentence or two
POLICY_LIFE_S_MAX: Final = 90 * 86_400  # a relay that nobody keeps is forgotten
OTHER_RELAYS_MAX: Final = 3  # that one relay names in its place
RELAY_GRANT_LIFE_S_MAX: Final = 366 * 86_400  # a year, then its community looks again
RELAY_ASK_BYTES_MAX: Final = 1_536  # a genesis, four addresses and a relay grant
RELAY_REPLY_BYTES_MAX: Final = 3_600  # a policy and an identity
