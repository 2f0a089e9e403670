"""What a guest says of its way once it is in: candidates, or that it looks for another. Pure.

Candidates we need not know, since who is ICE-lite answers whoever comes. Spec: RFC 9725 §4.3.
"""

from p2phouse.guest.exchange import FRAGMENT, Reply, Request, kind_of, said
from p2phouse.guest.sdp import BadOffer, Fragment, read_fragment


def read_patch(request: Request, *, etag: str, ufrag: str) -> Reply | Fragment:
    """The answer, or the fragment if it asks for an ICE restart.

    428 without If-Match, 412 if it is another's. Another ufrag asks for a restart: with `*`, as
    the RFC has it, or with the ETag, which says no less.
    """
    if kind_of(request) != FRAGMENT:
        return said(415, f"a patch is {FRAGMENT}", ("accept-patch", FRAGMENT))
    wanted = request.headers.get("if-match", "").strip()
    if not wanted:
        return said(428, "If-Match is missing")
    if wanted != "*" and etag not in (each.strip() for each in wanted.split(",")):
        return said(412, "this is not the ETag of the guest")
    try:
        fragment = read_fragment(request.body)
    except BadOffer as error:
        return said(400, str(error))
    if fragment.ufrag not in ("", ufrag):
        return fragment if fragment.pwd else said(400, "ice-pwd is missing")
    if wanted == "*":
        return said(422, "an ICE restart has another ice-ufrag")
    return Reply(204)
