"""Who may speak to the owner's page: classes of requests, over real sockets, at every path."""

import stat

import pytest
import trio

from p2phouse.web.guard import BODY_BYTES_MAX, Guard
from p2phouse.web.server import STATIC
from tests.web.harness import Closed, ask, served

PATHS = ["/", "/main.js", "/api", "/no-such-file"]


@pytest.fixture
async def page():
    async with served() as its:
        yield its


def request(page, path="/", method="GET", host=None, **headers):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{page.port}'}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ask(page.port, "\n".join(lines))


async def test_our_own_browser_gets_the_page_and_its_files(page):
    for path, kind in [
        ("/", "text/html"),
        ("/main.js", "text/javascript"),
        ("/page.css", "text/css"),
    ]:
        for host in (f"127.0.0.1:{page.port}", f"localhost:{page.port}"):
            status, headers, body = await request(
                page, path, host=host, Sec_Fetch_Site="same-origin"
            )
            if path == "/" and host.startswith("localhost"):
                assert status == 307
                assert headers["location"] == f"http://127.0.0.1:{page.port}/"
                continue
            assert status == 200
            assert headers["content-type"].startswith(kind)
            assert body == (STATIC / (path[1:] or "index.html")).read_bytes()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example"]
)
async def test_a_name_that_was_rebound_to_this_machine_is_misdirected(page, path, host):
    assert (await request(page, path, host=host))[0] == 421


@pytest.mark.parametrize("path", PATHS)
async def test_a_request_without_a_host_is_no_request(page, path):
    assert (await ask(page.port, f"GET {path} HTTP/1.0"))[0] == 400
    assert (await ask(page.port, f"GET {path} HTTP/1.1"))[0] == 400


async def test_two_hosts_are_no_request_even_if_the_web_server_lets_them_through(page):
    own = f"127.0.0.1:{page.port}"
    assert (await ask(page.port, f"GET / HTTP/1.0\nHost: {own}\nHost: evil.example"))[0] == 400
    said = []

    async def send(message):
        said.append(message)

    hosts = [(b"host", own.encode()), (b"host", b"evil.example")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": hosts}
    await Guard(unreached, port=page.port)(scope, unreached, send)
    assert said[0]["status"] == 400


async def unreached(*_):
    raise AssertionError("the guard let it through")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://{own}"]
)
async def test_a_foreign_origin_is_refused(page, path, origin):
    origin = origin.format(own=f"127.0.0.1:{page.port}")
    for method in ("GET", "POST"):
        assert (await request(page, path, method, Origin=origin))[0] == 403


async def test_two_origins_are_no_request(page):
    own = f"http://127.0.0.1:{page.port}"
    head = (
        f"GET / HTTP/1.1\nHost: 127.0.0.1:{page.port}\nOrigin: {own}\nOrigin: http://evil.example"
    )
    assert (await ask(page.port, head))[0] == 400


async def test_one_of_our_hosts_is_no_origin_for_the_other(page):
    assert (await request(page, Origin=f"http://localhost:{page.port}"))[0] == 403


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_what_may_change_something_names_its_origin(page, path, method):
    assert (await request(page, path, method))[0] == 403
    own = f"http://127.0.0.1:{page.port}"
    assert (await request(page, path, method, Origin=own))[0] in (404, 405)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_site_may_not_load_anything(page, path, site):
    for extra in ({}, {"Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"}):
        assert (await request(page, path, Sec_Fetch_Site=site, **extra))[0] == 403


@pytest.mark.parametrize(
    ("path", "mode", "dest", "status"),
    [
        ("/", "navigate", "document", 200),
        ("/", "navigate", "iframe", 403),
        ("/", "no-cors", "document", 403),
        ("/main.js", "navigate", "document", 403),
        ("/api", "navigate", "document", 403),
    ],
)
async def test_from_elsewhere_a_person_may_only_arrive(page, path, mode, dest, status):
    got = await request(
        page, path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode=mode, Sec_Fetch_Dest=dest
    )
    assert got[0] == status


async def test_a_body_is_bounded_and_says_its_length(page):
    own = f"http://127.0.0.1:{page.port}"
    for length, status in ((BODY_BYTES_MAX, 405), (BODY_BYTES_MAX + 1, 413), ("much", 400)):
        got = await request(page, "/", "POST", Origin=own, Content_Length=length)
        assert got[0] == status, length
    got = await request(page, "/", "POST", Origin=own, Transfer_Encoding="chunked")
    assert got[0] == 411


@pytest.mark.parametrize(
    "path",
    [
        "/../guard.py",
        "/..%2fguard.py",
        "/%2e%2e/guard.py",
        "//etc/passwd",
        "/vendor/../../guard.py",
        "/..\\guard.py",
        "/vendor",
        "/vendor/README.md",
        "/index.html%00.js",
    ],
)
async def test_no_path_leaves_the_page_s_files(page, path):
    assert (await request(page, path))[0] == 404


@pytest.mark.parametrize("path", [*PATHS, "/refused"])
async def test_every_answer_says_what_a_browser_must_not_do(page, path):
    extra = {"Origin": "null"} if path == "/refused" else {}
    headers = (await request(page, path, **extra))[1]
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self' ws://127.0.0.1:* ws://localhost:*; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": ""}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        (
            {
                "Sec-Fetch-Site": "cross-site",
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "document",
            },
            403,
        ),
    ],
)
async def test_a_foreign_websocket_is_refused_before_it_opens(page, headers, status):
    with pytest.raises(Closed) as refused:
        await page.open(**headers)
    assert refused.value.code == status


async def test_the_page_is_on_loopback_alone(page):
    assert page.opening.listener.getsockname()[0] == "127.0.0.1"


# ── the one-shot file ────────────────────────────────────────────────────────────────────────


async def test_the_one_shot_file_is_ours_alone_and_leads_to_the_page(page):
    path = page.opening.write_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f'url={page.opening.origin}/#{page.opening.token_text}"' in path.read_text()
    assert page.opening.token_text not in path.name


async def test_an_unused_one_shot_file_goes_after_a_minute(autojump_clock, tmp_path):
    from p2phouse.web.opening import FILE_S_MAX, Opening

    opening = Opening(tmp_path, "label", lambda count: bytes(count))
    path = opening.write_file()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opening.expire, path)
        await trio.sleep(FILE_S_MAX - 1)
        assert path.exists()
    assert not path.exists()
    opening.close()


def test_files_of_a_killed_node_go_at_the_next_start_and_others_stay(tmp_path):
    import os

    from p2phouse.web.opening import Opening

    former = Opening(tmp_path, "mine", os.urandom)
    left = former.write_file()
    former.listener.close()
    other = Opening(tmp_path, "theirs", os.urandom)
    kept = other.write_file()
    opening = Opening(tmp_path, "mine", os.urandom)
    assert not left.exists()
    assert kept.exists()
    opening.close()
    other.close()
