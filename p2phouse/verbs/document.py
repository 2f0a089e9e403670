"""docs/asyncapi.json: the API for programs to read, written from the declarations of the verbs.

    python -m p2phouse.verbs.document

writes it anew; a test fails while it differs from the code. What each event means is read from the
table of events in docs/api.md, where a test holds it to be complete.
"""

import json
import re
from pathlib import Path
from types import NoneType
from typing import (
    Any,
    Final,
    Literal,
    NotRequired,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from p2phouse import __version__
from p2phouse.room.messages import EventKind
from p2phouse.verbs.declaration import REQUIRED, Declared, Hint
from p2phouse.verbs.facts import Happened
from p2phouse.verbs.table import VERBS

Schema = dict[str, Any]

DOCS: Final = Path(__file__).parents[2] / "docs"
PLAIN: Final = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
SOCKET: Final = "socket"
PAGE: Final = "page"


def document(meanings: dict[str, tuple[str, str]]) -> Schema:
    """The whole document. `meanings`: of each event by its name, what happened and its text."""
    schemas: Schema = {"Error": _ERROR, "Numbered": _NUMBERED}
    messages: Schema = {"error": _message("What went wrong", _ref("schemas", "Error"))}
    for verb in VERBS.values():
        messages |= _messages_of(verb, schemas)
    for kind in EventKind:
        name = kind.name.lower()
        messages[f"event.{name}"] = _event(name, *meanings[name], schemas)
    of_page = [verb for verb in VERBS.values() if verb.page]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "p2phouse node",
            "version": __version__,
            "description": "What a running node can be asked, and what it tells. In words: api.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _SERVERS,
        "channels": {
            SOCKET: _channel(SOCKET, list(VERBS.values())),
            PAGE: _channel(PAGE, of_page),
        },
        "operations": {
            **{f"{SOCKET}.{verb.name}": _operation(SOCKET, verb) for verb in VERBS.values()},
            **{f"{PAGE}.{verb.name}": _operation(PAGE, verb) for verb in of_page},
            **_OF_PAGE_ALONE,
            f"{PAGE}.events": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{PAGE}"},
                "summary": "Every change of state, unasked for, as soon as the page has entered.",
                "messages": [_of_channel(PAGE, f"event.{kind.name.lower()}") for kind in EventKind],
            },
        },
        "components": {
            "messages": messages,
            "schemas": dict(sorted(schemas.items())),
            "correlationIds": {"question": {"location": "$message.payload#/id"}},
        },
    }


# ── verbs ────────────────────────────────────────────────────────────────────────────────────


def _messages_of(verb: Declared, schemas: Schema) -> Schema:
    arguments = {each.name: _schema(each.hint, schemas) for each in verb.arguments}
    for each in verb.arguments:
        if each.default is not REQUIRED:
            arguments[each.name]["default"] = each.default
    required = [each.name for each in verb.arguments if each.default is REQUIRED]
    request = _object({"verb": {"const": verb.name}, **arguments}, ["verb", *required])
    result = _object({"result": _shape(verb.result, schemas)}, ["result"])
    return {
        f"{verb.name}.request": _message(verb.doc, request),
        f"{verb.name}.result": _message(f"What {verb.name} answers", result),
        **{
            f"{verb.name}.{_name_of(told)}": _message(
                f"What {verb.name} tells before it answers", _shape(told, schemas)
            )
            for told in verb.tells
            if told is not Happened
        },
    }


def _name_of(told: type) -> str:
    return str(get_args(get_type_hints(told)["event"])[0])


def _told_by(verb: Declared) -> list[str]:
    if Happened in verb.tells:
        return [f"event.{kind.name.lower()}" for kind in EventKind]
    return [f"{verb.name}.{_name_of(told)}" for told in verb.tells]


def _operation(channel: str, verb: Declared) -> Schema:
    # From the node's side, as AsyncAPI wants it: a verb is received, its answer is the reply.
    answers = [f"{verb.name}.result", "error", *_told_by(verb)]
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": verb.doc,
        "messages": [_of_channel(channel, f"{verb.name}.request")],
        "reply": {
            "channel": {"$ref": f"#/channels/{channel}"},
            "messages": [_of_channel(channel, name) for name in answers],
        },
    }


def _channel(channel: str, verbs: list[Declared]) -> Schema:
    names = ["error", *(f"event.{kind.name.lower()}" for kind in EventKind)]
    for verb in verbs:
        names += [f"{verb.name}.request", f"{verb.name}.result"]
        names += [name for name in _told_by(verb) if not name.startswith("event.")]
    return {
        **_CHANNELS[channel],
        "servers": [{"$ref": f"#/servers/{channel}"}],
        "messages": {
            **(_ENTERING if channel == PAGE else {}),
            **{name: _carried(channel, name) for name in names},
        },
    }


def _carried(channel: str, name: str) -> Schema:
    """A message as the channel has it: the page numbers its questions, for it asks many at once."""
    if channel == SOCKET or not name.endswith(("request", "result", "error")):
        return _ref("messages", name)
    payload = {"$ref": f"#/components/messages/{name}/payload"}
    return {
        "payload": {"allOf": [payload, _ref("schemas", "Numbered")]},
        "correlationId": {"$ref": "#/components/correlationIds/question"},
    }


def _event(name: str, meaning: str, text: str, schemas: Schema) -> Schema:
    payload = _shape(Happened, schemas)
    own = {"event": {"const": name}, "text": {"description": text or "empty"}}
    return _message(meaning, {"allOf": [payload, {"properties": own}]})


# ── schemas ──────────────────────────────────────────────────────────────────────────────────


def _schema(hint: Hint, schemas: Schema) -> Schema:
    """JSON Schema (draft 7, as AsyncAPI has it) of an annotation."""
    kind, bounds = hint.kind, hint.bounds
    schema: Schema
    if is_typeddict(kind):
        schema = _shape(kind, schemas)
    elif len(hint.options) > 1:
        schema = {"anyOf": [_schema(option, schemas) for option in hint.options]}
    elif get_origin(kind) is Literal:
        schema = {"enum": list(get_args(kind))}
    elif get_origin(kind) is list:
        schema = {"type": "array", "items": _schema(Hint.of(get_args(kind)[0]), schemas)}
    elif get_origin(kind) is dict:
        inner = _schema(Hint.of(get_args(kind)[1]), schemas)
        schema = {"type": "object", "additionalProperties": inner}
    else:
        schema = {"type": PLAIN[kind]}
    if bounds is not None and kind is str:
        schema |= {"minLength": bounds.least, "maxLength": bounds.most}
    elif bounds is not None:
        schema |= {"minimum": bounds.least, "maximum": bounds.most}
    if hint.doc:
        # Beside a $ref a draft 7 reader sees nothing.
        schema = {"allOf": [schema]} if "$ref" in schema else schema
        schema["description"] = hint.doc
    return schema


def _shape(shape: type, schemas: Schema) -> Schema:
    """A reference to the schema of a TypedDict, which it adds to `schemas`."""
    name = shape.__name__
    if name not in schemas:
        schemas[name] = {}  # it may hold itself
        hints = get_type_hints(shape, include_extras=True)
        facts = {fact: _schema(Hint.of(_needed(hint)), schemas) for fact, hint in hints.items()}
        required = sorted(shape.__required_keys__)  # type: ignore[attr-defined]  # of a TypedDict
        schemas[name] |= _object(facts, required)
        if shape.__doc__:
            schemas[name]["description"] = " ".join(shape.__doc__.split())
    return _ref("schemas", name)


def _needed(hint: Any) -> Any:  # noqa: ANN401 - an annotation
    return get_args(hint)[0] if get_origin(hint) is NotRequired else hint


def _object(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


def _message(summary: str, payload: Schema) -> Schema:
    return {"summary": summary, "payload": payload}


def _ref(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _of_channel(channel: str, name: str) -> Schema:
    return {"$ref": f"#/channels/{channel}/messages/{name}"}


_ERROR: Final = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "a sentence for a person, with what to do"},
        "yours": {"type": "boolean", "description": "whether the one who asked can mend it"},
    },
    "required": ["error", "yours"],
}
_NUMBERED: Final = {
    "type": "object",
    "properties": {
        "id": {
            "type": ["integer", "null"],
            "description": "of the question; null in the error that answers one without",
        }
    },
    "required": ["id"],
}
_ENTERING: Final = {
    "token": {
        "summary": "The first word of a page, within two seconds",
        "payload": {
            "type": "object",
            "properties": {"token": {"type": "string"}},
            "required": ["token"],
        },
    },
    "pulse": {
        "summary": "Where the sound's socket is, and how loud each member is, as it changes",
        "payload": {
            "type": "object",
            "properties": {
                "sound": {
                    "type": "object",
                    "properties": {
                        "port": {"type": ["integer", "null"]},
                        "ready": {"type": "boolean"},
                    },
                    "required": ["port", "ready"],
                },
                "levels": {
                    "type": "object",
                    "description": "by peer_id, in dBov",
                    "additionalProperties": {"type": "integer", "minimum": -127, "maximum": 0},
                },
            },
        },
    },
}
_OF_PAGE_ALONE: Final = {
    f"{PAGE}.{name}": {
        "action": action,
        "channel": {"$ref": f"#/channels/{PAGE}"},
        "messages": [_of_channel(PAGE, name)],
    }
    for name, action in (("token", "receive"), ("pulse", "send"))
}
_SERVERS: Final = {
    SOCKET: {
        "host": "localhost",
        "protocol": "unix",
        "description": "A stream socket of mode 0600 in the run-time directory; see api.md.",
    },
    PAGE: {
        "host": "127.0.0.1",
        "protocol": "ws",
        "description": "On the port that the file of the verb `page` leads to; see page.md.",
    },
}
_CHANNELS: Final = {
    SOCKET: {
        "address": "api-HASH.sock",
        "description": "One connection carries one request, one line of JSON, and its answer: "
        "any number of events, then one result or one error, each on a line.",
    },
    PAGE: {
        "address": "/api",
        "description": "The first message is the token; events and the pulse are told unasked for.",
    },
}


def meanings_of_events(api: str) -> dict[str, tuple[str, str]]:
    """What api.md says of each event: what happened, and what its text is."""
    part = api[api.index("\n### events") :]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|(.*?)\|?$", part, re.MULTILINE)
    return {name: (meaning, text.strip()) for name, meaning, text in rows}


def written() -> str:
    api = (DOCS / "api.md").read_text()
    return json.dumps(document(meanings_of_events(api)), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (DOCS / "asyncapi.json").write_text(written())
