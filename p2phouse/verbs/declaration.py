"""How a verb is declared: a coroutine whose parameters are its arguments, and what it answers.

    @verb(page=True, result=Entries)
    async def title(
        node: "Node", call: Call, title: Annotated[str, "of one line", Between(1, 80)]
    ) -> Facts:
        \"\"\"Gives the room another title.\"\"\"

What stands after `call` is read from the request and checked before the coroutine runs; what has a
default may be missing. A result is a TypedDict whose facts say what they mean. Nothing about a verb
stands anywhere else: table.py collects them, document.py writes docs/asyncapi.json from them.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Concatenate,
    Final,
    Literal,
    TypedDict,
    Union,
    get_args,
    get_origin,
)

from p2phouse.api import BadRequest, Call, Facts

if TYPE_CHECKING:
    from p2phouse.node import Node

PATH_CHARS_MAX: Final = 4_000  # no system has longer ones; "file:" and it fit into channel.SetInput


@dataclass(frozen=True, slots=True)
class Between:
    """The least and the most that a number, or the characters of a text, may be."""

    least: int
    most: int


class Marked(Enum):
    FILE = "names a file"


REQUIRED: Final = inspect.Parameter.empty

FilePath = Annotated[str, "absolute path of the file", Between(0, PATH_CHARS_MAX), Marked.FILE]
Who = Annotated[str, "a name, key tag or PeerId of `members`", Between(1, 200)]


class Nothing(TypedDict):
    """The result of a verb that has nothing to say but that it is done."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What an annotation says: the bare type, the last text beside it, and its bounds."""

    kind: Any
    doc: str
    bounds: Between | None
    names_file: bool

    @classmethod
    def of(cls, annotation: object) -> "Hint":
        beside = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
        kind = get_args(annotation)[0] if beside else annotation
        doc = next((each for each in reversed(beside) if isinstance(each, str)), "")
        bounds = next((each for each in reversed(beside) if isinstance(each, Between)), None)
        return cls(kind, doc, bounds, Marked.FILE in beside)

    @property
    def options(self) -> "list[Hint]":
        """Each type of a union; itself if it is none."""
        is_union = get_origin(self.kind) in (Union, UnionType)
        return [Hint.of(each) for each in get_args(self.kind)] if is_union else [self]

    def fits(self, value: object) -> bool:
        """Whether an argument may have this value."""
        if get_origin(self.kind) is Literal:
            return type(value) is str and value in get_args(self.kind)
        if type(value) is not self.kind:
            return False
        size = len(value) if isinstance(value, str) else value
        bounds = self.bounds
        return bounds is None or (isinstance(size, int) and bounds.least <= size <= bounds.most)

    @property
    def wanted(self) -> str:
        """What a person is told that an argument must be."""
        span = f"{self.bounds.least:,} to {self.bounds.most:,}" if self.bounds else ""
        if get_origin(self.kind) is Literal:
            return f"one of {', '.join(get_args(self.kind))}"
        if self.kind is str:
            return f"text of {span} characters" if span else "text"
        if self.kind is int:
            return f"a whole number from {span}" if span else "a whole number"
        return "true or false"


@dataclass(frozen=True, slots=True)
class Argument:
    name: str
    hint: Hint
    default: object = REQUIRED

    def read(self, request: Facts) -> object:
        """Its value in a request. Raises BadRequest."""
        value = request.get(self.name, self.default)
        if value is REQUIRED:
            raise BadRequest(reason=f"{self.name} is missing")
        options = self.hint.options
        is_default = (type(value), value) == (type(self.default), self.default)
        if not is_default and not any(option.fits(value) for option in options):
            wanted = " or ".join(option.wanted for option in options)
            raise BadRequest(reason=f"{self.name} must be {wanted}")
        # Half a pair from JSON, or a file name that is no UTF-8: no message could carry it on.
        if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
            raise BadRequest(reason=f"{self.name} is not Unicode; rename the file")
        return value


Perform = Callable[Concatenate["Node", Call, ...], Awaitable[Facts]]


@dataclass(frozen=True, slots=True)
class Declared:
    """One verb, and all there is to know of it."""

    name: str
    doc: str
    arguments: tuple[Argument, ...]
    result: type
    tells: tuple[type, ...]
    page: bool
    perform: Perform

    async def __call__(self, node: "Node", call: Call, request: Facts) -> Facts:
        """Reads the arguments, then acts. Raises BadRequest before anything is done."""
        arguments = {each.name: each.read(request) for each in self.arguments}
        return await self.perform(node, call, **arguments)


def verb(
    name: str = "", *, page: bool = False, result: type = Nothing, tells: tuple[type, ...] = ()
) -> Callable[[Perform], Declared]:
    """Declares the coroutine under it as a verb.

    name: what it is asked by, if not the coroutine's own name.
    page: whether the page may ask it. Only what neither takes the path of a file nor hands one out.
    result: the TypedDict of its answer; tells: those of the events that it tells before.
    """

    def declare(perform: Perform) -> Declared:
        parameters = list(inspect.signature(perform).parameters.values())[2:]
        arguments = tuple(
            Argument(each.name, Hint.of(each.annotation), each.default) for each in parameters
        )
        # Beside the arguments a request carries these two: the page numbers its questions.
        assert not {"id", "verb"} & {each.name for each in arguments}, perform.__name__
        # Security: whoever got hold of the token may run the page, not read or write files by
        # `say` and `listen` with any path.
        assert not (page and any(each.hint.names_file for each in arguments)), perform.__name__
        doc = " ".join((perform.__doc__ or "").split())
        return Declared(name or perform.__name__, doc, arguments, result, tells, page, perform)

    return declare
