"""A relay's home as the commands see it: made, kept, changed; and asking the relay that runs."""

import http.client
import json as jsonlib
import math
import os
import secrets
import tarfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from p2phouse.config import HomeUnusable, make_private
from p2phouse.drive import clock
from p2phouse.errors import UserError
from p2phouse.identity.keyfile import write_atomically
from p2phouse.identity.keys import FILE_NAME as KEY_NAME
from p2phouse.identity.keys import load_or_create
from p2phouse_relay import denials, policy, traffic
from p2phouse_relay.admin import NotRunning, where
from p2phouse_relay.settings import (
    FILE_NAME,
    TEMPLATE,
    UDP_PORT,
    NoSettings,
    SettingsThere,
    relay_home,
    understood,
)

ANSWERS_S_MAX: Final = 5.0
KEPT: Final = (
    FILE_NAME, KEY_NAME, policy.FILE_NAME, traffic.FILE_NAME, denials.FILE_NAME, denials.NOTICES,
)  # fmt: skip
BACKUP_FILES_MAX: Final = 20_000
BACKUP_BYTES_MAX: Final = 4 * 1024 * 1024  # of one file


class BadMonth(UserError):
    """--month {given} is not understood. Write it like 2026-05."""


class BackupFailed(UserError):
    """The backup {path} could not be written ({reason})."""


class BackupUnreadable(UserError):
    """{path} is no backup of a relay, or is damaged."""


def make_home(given: str | None, *, name: str, domain: str, address: str, contact: str) -> Path:
    """The settings file that was made. Raises SettingsThere, SettingsWrong, HomeUnusable."""
    home = relay_home(given)
    path = home / FILE_NAME
    if path.exists():
        raise SettingsThere(path=path)
    text = TEMPLATE.format(
        name=_quoted(name),
        contact=_quoted(contact),
        domain=_quoted(domain),
        plain_domain=domain,
        addresses=f"[{_quoted(address)}]",
        udp_port=UDP_PORT,
        token=secrets.token_urlsafe(18),
    )
    understood(path, text)
    make_private(home, HomeUnusable)
    load_or_create(home, now=clock(), entropy=os.urandom)
    write_atomically(path, text.encode())
    return path


def _quoted(text: str) -> str:
    """A basic string of TOML: JSON's, but for what JSON leaves as it is and TOML forbids."""
    return jsonlib.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


# ── what is not carried ──────────────────────────────────────────────────────────────────────


def deny(
    given: str | None,
    what: str,
    *,
    reason: str,
    days: float | None = None,
    notice: Path | None = None,
) -> None:
    """Raises NoSettings, ReasonUnusable, NoticeUnreadable, DenialsDamaged."""
    home, now = _made(given), clock()
    name = ""
    if notice is not None:
        day = datetime.fromtimestamp(now.unix, UTC).strftime("%Y-%m-%d")
        name = denials.keep_notice(home, notice, name=f"{day}-{secrets.token_hex(4)}")
    until = math.inf if days is None else now.unix + days * denials.DAY_S
    denial = denials.Denial(what, reason, now.unix, until, name)
    denials.write(home, denials.denied(denials.read(home), denial))


def allow(given: str | None, what: str) -> None:
    """Raises NoSettings, NotDenied, DenialsDamaged."""
    home = _made(given)
    denials.write(home, denials.lifted(denials.read(home), what, clock().unix))


def denials_now(given: str | None) -> list[dict[str, Any]]:
    unix = clock().unix
    return [
        {"what": each.what, "reason": each.reason, "until": _day(each.until)}
        for each in denials.read(_made(given))
        if each.stands(unix)
    ]


def month_account(given: str | None, month: str) -> dict[str, Any]:
    """Raises BadMonth."""
    try:
        begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    except ValueError as error:
        raise BadMonth(given=month) from error
    end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    found = denials.account(denials.read(_made(given)), begin.timestamp(), end.timestamp())
    return asdict(found)


def _day(unix: float) -> str | None:
    if math.isinf(unix):
        return None
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _made(given: str | None) -> Path:
    home = relay_home(given)
    if not (home / FILE_NAME).exists():
        raise NoSettings(path=home / FILE_NAME)
    return home


# ── a copy of it all ─────────────────────────────────────────────────────────────────────────


def backup(given: str | None, target: Path) -> None:
    """Raises NoSettings, BackupFailed."""
    home = _made(given)
    try:
        # Security: the key is in it; and never over a file that is there.
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name in KEPT:
                if (home / name).exists():
                    archive.add(home / name, name)
    except OSError as error:
        raise BackupFailed(path=target, reason=error.strerror) from error


def restore(given: str | None, source: Path) -> Path:
    """The home that was made. Raises SettingsThere, BackupUnreadable, HomeUnusable."""
    home = relay_home(given)
    if (home / FILE_NAME).exists():
        raise SettingsThere(path=home / FILE_NAME)
    make_private(home, HomeUnusable)
    try:
        with tarfile.open(source, "r:gz") as archive:
            members = archive.getmembers()
            # Security: nothing but what `backup` writes, to where it was, however it was made.
            good = all(
                each.name.partition("/")[0] in KEPT
                and (each.isfile() or each.isdir())
                and each.size <= BACKUP_BYTES_MAX
                for each in members[: BACKUP_FILES_MAX + 1]
            )
            if not good or len(members) > BACKUP_FILES_MAX or FILE_NAME not in archive.getnames():
                raise BackupUnreadable(path=source)
            archive.extractall(home, filter="data")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BackupUnreadable(path=source) from error
    return home


# ── the relay that runs ──────────────────────────────────────────────────────────────────────


def is_running(home: Path) -> bool:
    try:
        ask(home, "GET", "/status")
    except NotRunning:
        return False
    return True


def status(given: str | None) -> dict[str, Any]:
    """How the relay is that runs for that home, and who had how much sent this month, which stands
    in the home alone. Raises NotRunning, TrafficDamaged."""
    home = relay_home(given)
    facts = ask(home, "GET", "/status")
    accounts = traffic.read(home).of.most_common() if home.is_dir() else []
    rows = [{"key": key.hex(), "gb": round(octets / traffic.GB, 3)} for key, octets in accounts]
    return {**facts, "accounts": rows}


def ask(home: Path, method: str, path: str) -> dict[str, Any]:
    """What the running relay answers. Raises NotRunning."""
    port, token = where(home)
    try:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWERS_S_MAX)
        try:
            line.request(method, path, headers={"Authorization": f"Bearer {token}"})
            facts: dict[str, Any] = jsonlib.loads(line.getresponse().read())
        finally:
            line.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotRunning(home=home) from error
    return facts
