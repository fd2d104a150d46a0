"""Who may use the sessions of polling dialects."""

import pytest

from tests.authorization.credentials import EVERYTHING, Credentials, bearer, only
from tests.dialects.test_session_cursors import SETTINGS, Comet4jSession, each_session
from tests.transports.daemon import until
from tests.transports.http_client import HttpClient, encode_request

TOKEN = "reader-Kq3vXw8ZpT5nRb1c"


@pytest.mark.parametrize("path", ["/pushlet.srv?p_event=join", "/comet4j?cmd=conn&channels=a"])
async def test_requests_of_foreign_pages_are_refused_and_those_of_no_page_answered(start_daemon, path):
    daemon = await start_daemon(SETTINGS)
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert (await daemon.request("GET", path, None, headers)).status == 403
    for headers in ({}, {"Sec-Fetch-Site": "same-origin"}):
        answer = await daemon.request("GET", path, None, headers)
        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@each_session
async def test_a_waiting_request_ends_when_its_token_is_removed(start_daemon, tmp_path, session_class):
    credentials = Credentials(tmp_path)
    credentials.write({TOKEN: EVERYTHING})
    daemon = await start_daemon(SETTINGS, file=credentials.file)
    session = session_class(daemon)
    session.headers = bearer(TOKEN)
    await session.begin(["a"])
    request = encode_request("GET", session.revival, None, session.headers)
    waiting: HttpClient = daemon.connect("http", HttpClient(request))
    await until(lambda: daemon.subscribers("a"), "the subscriber")
    credentials.write({})
    await daemon.reload()
    assert (await waiting.answer).status == 401
    await daemon.request("POST", "/pub/a", b"secret", bearer("setup-Kq3vXw8ZpT5nRb1c"))
    assert (await daemon.request("GET", session.revival, None, session.headers)).status == 401


async def test_every_request_of_comet4j_needs_its_own_grant(start_daemon, tmp_path):
    reader, writer = "reader-Kq3vXw8ZpT5nRb1c", "writer-Kq3vXw8ZpT5nRb1c"
    credentials = Credentials(tmp_path)
    credentials.write({reader: only(("subscribe", "history")), writer: only(("publish",))})
    daemon = await start_daemon(SETTINGS, file=credentials.file)

    async def status(token, query):
        return (await daemon.request("GET", f"/comet4j?{query}", None, bearer(token))).status

    assert await status(None, "cmd=conn&channels=room/a") == 401
    assert await status(writer, "cmd=conn&channels=room/a") == 403
    assert await status(reader, "cmd=conn&channels=room/a,other") == 403
    session = Comet4jSession(daemon)
    session.headers = bearer(reader)
    await session.begin(["room/a"])
    revival = session.revival.partition("?")[2]
    for _ in range(3):
        await daemon.request("POST", "/pub/room/a", b"x", bearer(writer))
    assert await status(writer, revival) == 404, "a session is of its creator"
    assert await status(reader, revival) == 200
    credentials.write({reader: only(())})
    await daemon.reload()
    assert await status(reader, revival) == 403, "what the session has read already is not sent either"
