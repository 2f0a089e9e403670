"""The WebSocket on which a page asks its node: token first, then questions, answers and news."""

import json
import logging

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2phouse.verbs.table import VERBS
from p2phouse.web.conversation import CALLS_MAX
from p2phouse.web.server import MESSAGE_BYTES_MAX, PAGES_MAX
from tests.web.harness import Closed, served


@pytest.fixture
async def node():
    async with served() as its:
        yield its


async def enter(node):
    page = await node.open()
    await page.say(json.dumps({"token": node.opening.token_text}))
    return page


async def answer(page, number):
    """The answer with that number; news in between is passed over."""
    while True:
        message = json.loads(await page.hear())
        if message.get("id", "news") == number:
            return message


async def test_a_page_that_shows_the_token_is_answered(node):
    page = await enter(node)
    await page.say('{"id": 7, "verb": "status", "more": "é"}')
    assert await answer(page, 7) == {"id": 7, "result": {"asked": {"more": "é"}}}


@pytest.mark.parametrize(
    "first",
    [
        '{"token": "wrong"}',
        '{"token": "é"}',
        '{"token": 5}',
        '{"id": 1, "verb": "status"}',
        "no JSON",
        "[" * 5_000,
    ],
)
async def test_whoever_does_not_show_it_is_closed(node, first):
    page = await node.open()
    await page.say(first)
    with pytest.raises(Closed) as closed:
        await page.hear()
    assert closed.value.code == 4401


async def test_bytes_are_no_token(node):
    page = await node.open()
    await page.say_bytes(json.dumps({"token": node.opening.token_text}).encode())
    with pytest.raises(Closed) as closed:
        await page.hear()
    assert closed.value.code == 4401


async def test_whoever_says_nothing_is_closed_too(node):
    page = await node.open()
    with pytest.raises(Closed) as closed:
        await page.hear()
    assert closed.value.code == 4401


async def test_the_one_shot_file_goes_with_the_page_that_came_by_it_and_not_before(node):
    path = node.opening.write_file()
    stranger = await node.open()
    await stranger.say('{"token": "wrong"}')
    with pytest.raises(Closed):
        await stranger.hear()
    assert path.exists()
    page = await enter(node)
    await page.say('{"id": 1, "verb": "status"}')
    await answer(page, 1)
    assert not path.exists()


async def test_a_mistake_comes_back_as_a_sentence(node):
    page = await enter(node)
    await page.say('{"id": 1, "verb": "join"}')
    assert await answer(page, 1) == {"id": 1, "error": "That was your mistake.", "yours": True}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('{"id": 2, "verb": "dance"}', 2),
        ('{"id": 2}', 2),
        ('{"id": 2, "verb": ["status"]}', 2),
        ('{"id": true, "verb": "status"}', None),
        ('{"verb": "status"}', None),
        ("5", None),
        ("{", None),
    ],
)
async def test_what_is_no_question_is_said_to_be_none(node, text, number):
    page = await enter(node)
    await page.say(text)
    refused = await answer(page, number)
    assert refused["yours"]
    assert "no request" in refused["error"]
    await page.say('{"id": 3, "verb": "status"}')
    assert "result" in await answer(page, 3)


async def test_a_page_may_not_touch_files(node):
    # Security: nor be handed the file by which another browser gets in.
    assert not {"say", "listen", "page", "events"} & {v.name for v in VERBS.values() if v.page}
    page = await enter(node)
    await page.say('{"id": 2, "verb": "listen", "out": "/tmp/x"}')
    assert "error" in await answer(page, 2)


async def test_a_message_that_is_too_large_closes_the_socket(node):
    page = await enter(node)
    filler = "x" * (MESSAGE_BYTES_MAX - 40)
    await page.say(json.dumps({"id": 1, "verb": "status", "x": filler}))
    await answer(page, 1)
    await page.say("x" * (MESSAGE_BYTES_MAX + 1))
    with pytest.raises(Closed):
        await answer(page, 2)


async def test_events_are_told_as_they_happen(node):
    page = await enter(node)
    await node.happens.send({"event": "joined", "text": "Tea"})
    while "event" not in (message := json.loads(await page.hear())):
        pass
    assert message == {"event": "joined", "text": "Tea"}


async def test_the_pulse_is_told_when_it_changes_and_not_again(node):
    node.pulse = {"sound": {"port": None, "ready": False}}
    page = await enter(node)
    assert json.loads(await page.hear()) == {"sound": {"port": None, "ready": False}}
    node.pulse = {"sound": {"port": 5, "ready": True}, "levels": {"a": -30}}
    assert json.loads(await page.hear()) == {"sound": {"port": 5, "ready": True}}
    assert json.loads(await page.hear()) == {"levels": {"a": -30}}
    node.pulse = {"sound": {"port": 5, "ready": True}, "levels": {"a": -31}}
    assert json.loads(await page.hear()) == {"levels": {"a": -31}}


async def test_of_many_questions_at_once_some_wait(node):
    node.enough = CALLS_MAX
    page = await enter(node)
    for number in range(CALLS_MAX + 4):
        await page.say(json.dumps({"id": number, "verb": "rooms"}))
    with trio.fail_after(20):
        await node.all_run.wait()
    await trio.sleep(0.1)  # in which one more would have begun
    assert node.running == CALLS_MAX
    node.release.set()
    await answer(page, CALLS_MAX + 3)
    assert node.running_most == CALLS_MAX


async def test_questions_of_a_page_that_left_are_dropped(node):
    page = await enter(node)
    await page.say('{"id": 1, "verb": "rooms"}')
    with trio.fail_after(20):
        await node.all_run.wait()
    await page.close()
    again = await enter(node)
    await again.say('{"id": 1, "verb": "status"}')
    assert "result" in await answer(again, 1)


async def test_of_too_many_pages_the_last_is_sent_away(node):
    pages = [await enter(node) for _ in range(PAGES_MAX)]
    for page in pages:
        await page.say('{"id": 1, "verb": "status"}')
        await answer(page, 1)
    late = await node.open()
    with pytest.raises(Closed) as closed:
        await late.hear()
    assert closed.value.code == 1013


async def test_the_token_is_in_no_log(node, caplog):
    caplog.set_level(logging.DEBUG)
    page = await enter(node)
    await page.say('{"id": 1, "verb": "status"}')
    await answer(page, 1)
    await page.close()
    await wait_all_tasks_blocked(0.05)
    assert node.opening.token_text not in caplog.text
    assert node.opening.token.hex() not in caplog.text
