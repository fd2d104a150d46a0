"""An HAProxy process."""

from pathlib import Path

from tests.system.proxies import Proxy

_GLOBAL = """\
global
    nbthread 1
    log stderr format raw local0 err
"""
_COME_BACK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nContent-Length: 12\r\n\r\n"
    b"retry: 3000\n"
)


class HAProxy(Proxy):
    """HAProxy with one frontend. Its single thread shares one pool of connections to pushd.

    :param config: the sections except `global`, as in docs/proxies.md; its frontend binds port 80.
    """

    program = "haproxy"

    def __init__(self, directory: Path, config: str) -> None:
        super().__init__(directory, ["www"])
        reconnect, path = directory / "come-back.http", directory / "haproxy.cfg"
        reconnect.write_bytes(_COME_BACK)
        config = config.replace("bind :80\n", f"bind 127.0.0.1:{self.ports['www']}\n")
        path.write_text(_GLOBAL + config.replace("/etc/haproxy/come-back.http", str(reconnect)))
        self.start("-db", "-f", str(path))
