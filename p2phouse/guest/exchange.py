"""What is asked over HTTP and what is answered, without a socket."""

from collections.abc import Mapping
from dataclasses import dataclass

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """headers: names in lower case; of two of a name the last. source: the guest's IP address."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    source: str


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Headers = ()
    body: bytes = b""


def said(status: int, text: str, *headers: tuple[str, str]) -> Reply:
    return Reply(
        status, (("content-type", "text/plain; charset=utf-8"), *headers), f"{text}\n".encode()
    )


def later(seconds: int, text: str) -> Reply:
    return said(503, text, ("retry-after", str(seconds)))


def kind_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
