"""A relay's home as the commands see it: making it, and asking the relay that runs for it."""

import http.client
import json as jsonlib
import os
import secrets
from pathlib import Path
from typing import Any, Final

from p2phouse.config import HomeUnusable, make_private
from p2phouse.drive import clock
from p2phouse.identity.keyfile import write_atomically
from p2phouse.identity.keys import load_or_create
from p2phouse_relay.admin import NotRunning, where
from p2phouse_relay.settings import (
    FILE_NAME,
    TEMPLATE,
    UDP_PORT,
    SettingsThere,
    relay_home,
    understood,
)

ANSWERS_S_MAX: Final = 5.0


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


def is_running(home: Path) -> bool:
    try:
        ask(home, "GET", "/status")
    except NotRunning:
        return False
    return True


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
