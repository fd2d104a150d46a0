"""nchan, the push module of nginx, with one worker process and a buffer like pushd's history."""

import time
from contextlib import ExitStack
from pathlib import Path

from bench.cpu import process_tree
from bench.peers.interface import CHANNEL, Server
from bench.programs import CannotRun, Program, find, free_port, version_of
from bench.scripts import PublishScript, SubscribeScript, get, post, upgrade

_MODULES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/nginx/modules", "/etc/nginx/modules")
_PROCESSES, _TURNS = 2, 500
_CONFIG = """\
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {directory}/pid;
error_log stderr;
events {{ worker_connections 18000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    nchan_shared_memory_size 512M;
    nchan_message_buffer_length 1000;
    server {{
        nchan_subscriber_first_message newest;
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/pub/(.+)$ {{ nchan_publisher http; nchan_channel_id $1; }}
        location ~ ^/sse/(.+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1; }}
        location ~ ^/ws/(.+)$ {{ nchan_subscriber websocket; nchan_channel_id $1; }}
    }}
}}
"""


class Nchan:
    """Debian's nginx with libnginx-mod-nchan, or another one with that module."""

    name = "nchan"

    def missing_dependency(self) -> str | None:
        """See `Peer`."""
        if find("nginx") is None or _module() is None:
            return "nginx with ngx_nchan_module.so is not installed (Debian: nginx-light libnginx-mod-nchan)"
        return None

    def version(self) -> str:
        """See `Peer`."""
        nginx = version_of([find("nginx") or "nginx", "-v"]).rpartition("/")[2]
        query = find("dpkg-query")
        module = version_of([query, "-Wf", "${Version}", "libnginx-mod-nchan"]) if query else "unknown version"
        return f"{module} in nginx {nginx}, one worker"

    def start(self, stack: ExitStack, directory: Path, cpus: frozenset[int]) -> Server:
        """See `Peer`."""
        port = free_port()
        config = directory / "nginx.conf"
        config.write_text(_CONFIG.format(module=_module(), directory=directory, port=port))
        command = [find("nginx") or "nginx", "-p", str(directory), "-c", str(config), "-e", "stderr"]
        program = stack.enter_context(Program(command, directory, cpus))
        program.wait_for(port)
        for _ in range(_TURNS):
            if len(process_tree(program.pid)) == _PROCESSES:
                return Server(program, {"http": port})
            time.sleep(0.02)  # the master listens before it has its worker
        raise CannotRun("nginx has no worker process")

    def subscribe_script(self, server: Server, transport: str, topic: str = CHANNEL) -> SubscribeScript:
        """See `Peer`."""
        if transport == "WebSocket":
            return SubscribeScript(server.ports["http"], upgrade(f"/ws/{topic}"), b"\r\n\r\n")
        return SubscribeScript(server.ports["http"], get(f"/sse/{topic}", "Accept: text/event-stream"), b": hi")

    def publish_script(self, server: Server, size: int, channel: str = CHANNEL, variant: str = "") -> PublishScript:
        """See `Peer`."""
        return PublishScript(server.ports["http"], post(f"/pub/{channel}", b"%p", size), b"HTTP/1.1 20")


def _module() -> Path | None:
    paths = (Path(directory) / "ngx_nchan_module.so" for directory in _MODULES)
    return next((path for path in paths if path.exists()), None)
