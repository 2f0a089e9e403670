"""What others wrote lies in the page as they published it."""

import hashlib
import re

from p2phouse.web.server import STATIC

README = (STATIC / "vendor" / "README.md").read_text()


def test_every_vendored_file_has_the_sum_that_is_named():
    named = dict(re.findall(r"^\| `([\w.-]+)` .* `([0-9a-f]{64})` \|$", README, re.MULTILINE))
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (STATIC / "vendor").glob("*.js")
    }
    assert named == found


def test_every_licence_that_is_named_is_there():
    for name in re.findall(r"`(LICENSE-\w+)`", README):
        assert (STATIC / "vendor" / name).is_file()


def test_nothing_of_the_page_is_fetched_from_elsewhere():
    for path in STATIC.glob("*"):
        if path.is_file():
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://", text), path.name
