"""The proxy configuration that fixes each kind of problem. docs/proxies.md contains the same lines."""

from collections.abc import Iterable, Mapping

from pushd.ctl.doctor.diagnosis import ProblemKind

PROXIES = ("nginx", "HAProxy", "Apache", "Caddy")
_SIGNATURES = {"nginx": ("nginx", "openresty"), "HAProxy": ("haproxy",), "Apache": ("apache",), "Caddy": ("caddy",)}
"""Substrings of ``Server`` or ``Via``, in lower case. HAProxy names itself only if configured to."""
_NOT_THE_CAUSE = "# not caused by this proxy: look for another one"

FIXES: Mapping[ProblemKind, Mapping[str, str]] = {
    ProblemKind.BUFFERED: {
        "nginx": "proxy_buffering off;",
        "HAProxy": "# not caused by the defaults: look for `http-response wait-for-body`",
        "Apache": _NOT_THE_CAUSE,
        "Caddy": "@rest not path /sse/* /sub/*\nencode @rest gzip",
    },
    ProblemKind.LATE: {
        "nginx": "tcp_nodelay on;",
        "HAProxy": "option http-no-delay",
        "Apache": _NOT_THE_CAUSE,
        "Caddy": _NOT_THE_CAUSE,
    },
    ProblemKind.CUT: {
        "nginx": "proxy_read_timeout 1h;",
        "HAProxy": "timeout client 1h\ntimeout server 1h\ntimeout tunnel 1h",
        "Apache": "ProxyTimeout 3600",
        "Caddy": "# not caused by the defaults: look for `read_timeout` and `stream_timeout`",
    },
    ProblemKind.UPGRADE: {
        "nginx": (
            "# in http:\n"
            "map $http_upgrade $connection_upgrade {\n"
            "    default upgrade;\n"
            '    "" "";\n'
            "}\n"
            "# in the server, and in each location with a proxy_set_header of its own:\n"
            "proxy_http_version 1.1;\n"
            "proxy_set_header Upgrade $http_upgrade;\n"
            "proxy_set_header Connection $connection_upgrade;"
        ),
        "HAProxy": "# forwards it by default: look for `http-request del-header`",
        "Apache": "ProxyPass / http://127.0.0.1:8080/ upgrade=websocket nocanon",
        "Caddy": "# forwards it by default: look for `header_up`",
    },
    ProblemKind.HOST: {
        "nginx": "proxy_set_header Host $http_host;",
        "HAProxy": "# keeps it by default: look for `http-request set-header Host`",
        "Apache": "ProxyPreserveHost On",
        "Caddy": "# keeps it by default: look for `header_up Host`",
    },
    ProblemKind.BODY: {
        "nginx": "client_max_body_size 16m;",
        "HAProxy": "# no limit by default: look for `req.body_size`",
        "Apache": _NOT_THE_CAUSE,
        "Caddy": "# no limit by default: look for `request_body`",
    },
    ProblemKind.ADDRESS: {
        "nginx": "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "HAProxy": "option forwardfor",
        "Apache": "# sends it by default",
        "Caddy": "# sends it by default",
    },
    ProblemKind.PATH: {
        "nginx": (
            "location / {\n"
            "    proxy_pass http://127.0.0.1:8080;\n"
            "}\n"
            "# under a prefix, with the slash at the end:\n"
            "location /push/ { proxy_pass http://127.0.0.1:8080/; }"
        ),
        "HAProxy": "# under a prefix:\nhttp-request replace-path ^/push(/.*) \\1",
        "Apache": "ProxyPass / http://127.0.0.1:8080/ upgrade=websocket nocanon",
        "Caddy": "# under a prefix:\nhandle_path /push/* { reverse_proxy 127.0.0.1:8080 }",
    },
    ProblemKind.UNREACHED: {
        "nginx": "proxy_pass http://127.0.0.1:8080;",
        "HAProxy": "server pushd 127.0.0.1:8080",
        "Apache": "ProxyPass / http://127.0.0.1:8080/ upgrade=websocket nocanon",
        "Caddy": "reverse_proxy 127.0.0.1:8080",
    },
}
"""Lines that begin with ``#`` are advice. `ProblemKind.REFUSED` has no fix, because the operator configured it."""


def identify_proxies(servers: Iterable[str]) -> list[str]:
    """Return the proxies named in the ``Server`` and ``Via`` headers of the responses."""
    headers = " ".join(servers).lower()
    return [proxy for proxy in PROXIES if any(signature in headers for signature in _SIGNATURES[proxy])]


def fixes_for(kind: ProblemKind, proxies: Iterable[str]) -> dict[str, str]:
    """Return the configuration against a problem by proxy: for `proxies`, or for all known ones if that is empty."""
    lines = FIXES.get(kind, {})
    return {proxy: lines[proxy] for proxy in list(proxies) or PROXIES if proxy in lines}
