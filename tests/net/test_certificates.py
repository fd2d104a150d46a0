"""Certificates are reloaded from the endpoint string; a listener without TLS has none."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock

from pushd.net.certificates import RenewingReactor
from tests.system.test_tls_and_unix import make_certificate


class Site(Factory):
    """Records its start and stop, which happen with its first and its last listener."""

    noisy = False
    protocol = Protocol

    def __init__(self) -> None:
        self.life: list[str] = []

    def startFactory(self) -> None:
        self.life.append("start")

    def stopFactory(self) -> None:
        self.life.append("stop")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with a key and a certificate, in separate files and in one file."""
    key, certificate = make_certificate(tmp_path)
    (tmp_path / "pems").mkdir()
    (tmp_path / "pems/all.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
    return tmp_path


def listen(endpoint: str) -> tuple[RenewingReactor, Site, Any]:
    """Listen, and return the reactor, the site and the factory of the port."""
    site, memory = Site(), MemoryReactorClock()
    reactor = RenewingReactor(endpoint, site, memory)
    serverFromString(reactor, endpoint).listen(site)
    factory = memory.tcpServers[0][1]
    factory.doStart()
    return reactor, site, factory


def endpoint(kind: str, folder: Path) -> str:
    """Return an endpoint string with the certificate of a directory."""
    files = f"ssl:0:privateKey={folder}/key.pem:certKey={folder}/cert.pem"
    return {"tls": f"tls:{folder}/pems:0", "ssl": files, "haproxy": f"haproxy:{files}"}[kind]


@pytest.mark.parametrize("kind", ["ssl", "tls", "haproxy"])
def test_reload_replaces_tls_and_keeps_the_site_running(folder: Path, kind: str) -> None:
    reactor, site, factory = listen(endpoint(kind, folder))
    before = factory.buildProtocol(None)
    reactor.reload()
    after = factory.buildProtocol(None)
    assert (type(after), after.factory is before.factory) == (type(before), False)
    assert site.life == ["start"]
    factory.doStop()
    assert site.life == ["start", "stop"]


@pytest.mark.parametrize("kind", ["ssl", "tls"])
@pytest.mark.parametrize("harm", ["gone", "garbage"])
def test_unreadable_certificates_are_reported(folder: Path, kind: str, harm: str) -> None:
    reactor, _, _ = listen(endpoint(kind, folder))
    for file in [*folder.glob("*.pem"), *folder.glob("pems/*.pem")]:
        file.unlink()
        if harm == "garbage":
            file.write_text("-----BEGIN CERTIFICATE-----\n", encoding="ascii")
    with pytest.raises(ValueError, match=r"certificates of .* cannot be loaded"):
        reactor.reload()


def test_missing_certificate_directory_is_reported(folder: Path) -> None:
    reactor, _, _ = listen(endpoint("tls", folder))
    shutil.rmtree(folder / "pems")
    with pytest.raises(ValueError, match="cannot be loaded"):
        reactor.reload()


def test_plain_tcp_has_no_certificates() -> None:
    reactor, _, _ = listen("tcp:0")
    reactor.reload()
