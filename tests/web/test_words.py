"""The page's words stand in several files and are one list: no file may say another's word anew."""

import re
from collections import Counter

from p2phouse.web.server import STATIC


def test_no_word_of_the_page_is_said_twice():
    keys = Counter(
        key
        for path in STATIC.glob("words*.js")
        for key in re.findall(r"^  (\w+): ", path.read_text(), re.MULTILINE)
    )
    assert len(keys) > 300
    assert [key for key, times in keys.items() if times > 1] == []
