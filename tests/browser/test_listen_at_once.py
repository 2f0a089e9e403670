"""Where a browser lets a page sound before it is touched, there is nothing to tap."""

import pytest

from tests.browser.chromium import chromium
from tests.browser.listening import LISTENS, page_of, speaking
from tests.relay.process import relay

pytestmark = [pytest.mark.browser]


def test_where_the_browser_lets_it_the_page_plays_at_once():
    with (
        relay() as its,
        speaking(its, "early", "ana"),
        chromium("--autoplay-policy=no-user-gesture-required") as browser,
        page_of(browser, its, "early") as page,
    ):
        page.wait_for_selector(LISTENS)
        page.wait_for_selector(".seat[data-state=speaking]")
