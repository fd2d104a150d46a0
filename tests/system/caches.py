"""HTTP caches (RFC 9111) that keep what they may: in a client, or between a client and pushd."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from requests_cache import CachedSession

from tests.daemon.clients import SECONDS, Http, Response
from tests.programs import find_node_package
from tests.system.nginx import Nginx
from tests.system.programs.commands import node_command
from tests.system.varnish import Varnish

_NGINX: Final = """
location / {{
    proxy_pass http://127.0.0.1:{port};
    proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_cache all; proxy_cache_valid any 1h;
}}
"""
_VARNISH: Final = """\
vcl 4.1;
backend pushd {{ .host = "127.0.0.1"; .port = "{port}"; }}
"""
_KEEP_AND_REVALIDATE: Final = """
sub vcl_backend_response {
    unset beresp.http.Cache-Control;
    set beresp.ttl = 1ms;
    set beresp.grace = 0s;
    set beresp.keep = 1h;
    return (deliver);
}
"""
_CACHEABLE_STATUSES: Final = tuple(range(200, 600))
_FRESH_SECONDS: Final = 3600


class Cache(Protocol):
    """A cache in front of pushd."""

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Response:
        """Request an address of pushd through the cache."""

    def stop(self) -> None:
        """Stop its process, if it has one."""


class RequestsCache:
    """requests-cache. By default it keeps responses of every status that do not forbid it.

    :param ignores_headers: whether it keeps all responses, whatever they say, and revalidates them each time.
    """

    def __init__(self, port: int, *, ignores_headers: bool = False) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._session = CachedSession(
            backend="memory",
            cache_control=not ignores_headers,
            always_revalidate=ignores_headers,
            expire_after=_FRESH_SECONDS,
            allowable_codes=_CACHEABLE_STATUSES,
        )

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Response:
        """See `Cache`."""
        response = self._session.get(self._url + target, headers=headers, timeout=SECONDS)
        named = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, named, response.content)

    def stop(self) -> None:
        """See `Cache`."""
        self._session.close()


class Undici:
    """The cache of undici, the HTTP client of Node.js."""

    def __init__(self, port: int) -> None:
        packages = find_node_package("undici").parent
        self._url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            node_command("cached_fetch.js"),
            env={"NODE_PATH": str(packages)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Response:
        """See `Cache`."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"url": self._url + target, "headers": dict(headers or {})}) + "\n")
        self._process.stdin.flush()
        response = json.loads(self._process.stdout.readline())
        return Response(response["status"], response["headers"], response["body"].encode())

    def stop(self) -> None:
        """See `Cache`."""
        self._process.communicate(timeout=SECONDS)


class SharedCache:
    """A proxy with a cache."""

    def __init__(self, proxy: Nginx | Varnish) -> None:
        self._proxy = proxy
        (self.port,) = proxy.ports.values()

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Response:
        """See `Cache`."""
        with Http(self.port) as http:
            return http.request("GET", target, headers)

    def stop(self) -> None:
        """See `Cache`."""
        self._proxy.stop()


def start_varnish(directory: Path, port: int, *, ignores_headers: bool = False) -> SharedCache:
    """Start Varnish with its default rules, which keep a response for two minutes unless its headers forbid it.

    :param ignores_headers: whether it keeps all responses, whatever they say, and revalidates them each time.
    """
    return SharedCache(
        Varnish(directory, _VARNISH.format(port=port) + (_KEEP_AND_REVALIDATE if ignores_headers else ""))
    )


def start_nginx(directory: Path, port: int) -> SharedCache:
    """Start nginx with a cache that keeps each response for an hour unless its headers forbid it."""
    http = f"proxy_cache_path {directory}/cache keys_zone=all:1m;"
    return SharedCache(Nginx(directory, {"www": _NGINX.format(port=port)}, http))
