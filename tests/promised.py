"""What docs/asyncapi.json promises of an answer, held against real ones.

The document lets answers gain facts, as a reader of it must. Here one that it does not name is a
mistake: it was forgotten in the declaration of its verb.
"""

import json
from functools import cache
from pathlib import Path

from jsonschema import Draft7Validator

PATH = Path(__file__).parents[1] / "docs/asyncapi.json"


def _strict(components):
    for schema in components["schemas"].values():
        schema["additionalProperties"] = False
    return components


@cache
def _validator(message: str) -> Draft7Validator:
    components = _strict(json.loads(PATH.read_text())["components"])
    name = message if message in components["messages"] else f"event.{message.rpartition('.')[2]}"
    schema = {"$ref": f"#/components/messages/{name}/payload", "components": components}
    return Draft7Validator(schema)


def check_result(verb: str, result) -> None:
    _validator(f"{verb}.result").validate({"result": result})


def check_event(verb: str, event) -> None:
    """One that the verb told before it answered, or that happened."""
    _validator(f"{verb}.{event['event']}").validate(event)


def check_request(verb: str, **arguments) -> None:
    _validator(f"{verb}.request").validate({"verb": verb, **arguments})


@cache
def _of_page(name: str) -> Draft7Validator:
    # Not strict here: an answer and its number are two schemas that both see the whole message.
    document = json.loads(PATH.read_text())
    reference = f"#/channels/page/messages/{name}/payload"
    return Draft7Validator(
        {"$ref": reference} | {k: document[k] for k in ("channels", "components")}
    )


def check_page(message, verb: str = "status") -> None:
    """What a page is told: an event, an answer with its number, the pulse."""
    if "event" in message:
        check_event(verb, message)
    elif "result" in message:
        _of_page(f"{verb}.result").validate(message)
        check_result(verb, message["result"])
    elif "error" in message:
        _of_page("error").validate(message)
    else:
        assert set(message) <= {"sound", "levels"}
        _of_page("pulse").validate(message)
