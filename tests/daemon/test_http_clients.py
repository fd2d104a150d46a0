"""Clients that offer HTTP/2 by ``Upgrade: h2c`` publish complete bodies (RFC 9110, section 7.8)."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.daemon.real import Daemon

pytestmark = pytest.mark.system

SECONDS = 60
JAVA = """\
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

class Post {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (String data : new String[] {"one", "DELETE /pub/b HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"}) {
            for (HttpRequest.BodyPublisher body : new HttpRequest.BodyPublisher[] {
                HttpRequest.BodyPublishers.ofString(data),
                HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(data.getBytes()))}) {
                HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0])).POST(body).build();
                System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
            }
        }
    }
}
"""


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("options", [(), ("-H", "Transfer-Encoding: chunked")], ids=["length", "chunked"])
def test_curl_offering_http_2(daemon: Daemon, channel: str, options: tuple[str, ...]) -> None:
    url = f"http://127.0.0.1:{daemon.http_port}/pub/{channel}"
    report = run("curl", "-sS", "--noproxy", "*", "--http2", "-w", " %{http_code}", *options, "-d", "the data", url)
    assert report.endswith(" 202")
    assert [message["data"] for message in daemon.history(channel)] == ["the data"]


@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")
def test_java_http_client(daemon: Daemon, channel: str, tmp_path: Path) -> None:
    source = tmp_path / "Post.java"
    source.write_text(JAVA)
    url = f"http://127.0.0.1:{daemon.http_port}/pub/{channel}"
    report = run("java", "-XX:TieredStopAtLevel=1", str(source), url)
    assert report.split() == ["202"] * 4
    smuggled = "DELETE /pub/b HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert [message["data"] for message in daemon.history(channel)] == ["one", "one", smuggled, smuggled]
