"""How a relay is, in lines for a terminal. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from p2phouse_relay.certificate import CERTIFICATE_DAYS_MIN
from p2phouse_relay.traffic import GB

ACCOUNTS_SHOWN: Final = 10


def lines(facts: Mapping[str, Any]) -> list[str]:
    """Of what `status --json` prints."""
    state = "taking nobody in" if facts["draining"] else "open" if facts["ready"] else "starting"
    again = facts["media_restarts"]
    loads = [f"{each['load_pct']} % for {each['guests']} guest(s)" for each in facts["processes"]]
    found = [
        f"{state}, up for {facts['up_s']:.0f} s",
        f"{facts['speakers']} speak and {facts['listeners']} listen in {facts['rooms']} room(s)",
        f"{facts['node_people']} people in {facts['node_rooms']} room(s) of nodes, "
        f"{facts['node_kbps']} kb/s; {facts['node_refused']} room(s) were not taken",
        f"{facts['joined']} came since the start, {facts['refused']} were told to come later, "
        f"{facts['sent_on']} to go elsewhere",
        f"of a core sound uses {', '.join(loads) or 'nothing'}; begun anew {again} time(s)",
    ]
    if len(loads) > 1:
        found.append(f"{facts['not_sent_on']} packet(s) did not get from one process to another")
    days = facts["certificate_days"]
    if days is not None and days < CERTIFICATE_DAYS_MIN:
        end = (
            "has run out: browsers let nobody in" if days <= 0 else f"runs out in {days:.0f} day(s)"
        )
        found.append(f"the certificate {end}. sudo certbot renew")
    return [*found, *month_lines(facts)]


def month_lines(facts: Mapping[str, Any]) -> list[str]:
    octets, most = facts["month_bytes"], facts["month_bytes_max"]
    said = f"{octets / GB:,.1f} GB sent in {facts['month'] or 'no month yet'}"
    if most:
        said += f", {100 * octets / most:.0f} % of {most / GB:,.0f}"
        if octets >= most:
            said += ": nobody more is let in until the month is over; who is here stays"
    found = [said]
    accounts = facts["accounts"][:ACCOUNTS_SHOWN]
    found += [f"  {each['gb']:,.1f} GB for {each['key'][:16]}…" for each in accounts]
    if facts["unkept"]:
        found.append(
            f"the home cannot be written ({facts['unkept']}): a restart forgets what was sent"
        )
    return found
