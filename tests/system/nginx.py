"""A real nginx of the tests' own: its directory, its free ports, one process."""

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.doors.clients import SECONDS
from tests.doors.real import eventually

_PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
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


class Nginx:
    """An nginx with a server, on a port of its own, for each of the configurations given."""

    def __init__(self, directory: Path, servers: Mapping[str, str], http: str = "") -> None:
        """`http` stands beside the servers."""
        if _PROGRAM is None:
            pytest.skip("nginx is not installed; see .ci/tools")
        self.ports = dict(zip(servers, _free_ports(len(servers)), strict=True))
        written = [_SERVER.format(port=self.ports[name], body=body) for name, body in servers.items()]
        config = directory / "nginx.conf"
        config.write_text(_CONFIG.format(directory=directory, http=http, servers="\n".join(written)))
        self._log = directory / "nginx.log"
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [_PROGRAM, "-p", str(directory), "-c", str(config), "-e", "stderr"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        if not eventually(self._is_up):
            self.stop()
            raise AssertionError(f"nginx did not start: {self.log}")

    @property
    def log(self) -> str:
        """All it has logged."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(SECONDS)

    def _is_up(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"nginx did not start: {self.log}")
        return all(_listens(port) for port in self.ports.values())


def _free_ports(count: int) -> list[int]:
    """Find ports that are free now; all are held until the last is found, so that they differ."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
