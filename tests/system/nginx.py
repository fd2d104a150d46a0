"""An nginx process with its own directory and ports."""

from collections.abc import Mapping
from pathlib import Path

from tests.system.proxies import Proxy

_CONFIG = """\
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {http}
{servers}
}}
"""
_SERVER = "    server {{ listen 127.0.0.1:{port}; {body} }}"


class Nginx(Proxy):
    """nginx with one server block, on its own port, for each configuration."""

    program = "nginx"

    def __init__(self, directory: Path, servers: Mapping[str, str], http: str = "") -> None:
        """Start it. `http` is the configuration outside the server blocks."""
        super().__init__(directory, servers)
        written = [_SERVER.format(port=self.ports[name], body=body) for name, body in servers.items()]
        config = directory / "nginx.conf"
        config.write_text(_CONFIG.format(directory=directory, http=http, servers="\n".join(written)))
        self.start("-p", str(directory), "-c", str(config), "-e", "stderr")
