"""From an address to an endpoint: TCP, TLS, a unix socket, or the master that Sentinels name."""

from pathlib import Path
from typing import Any, Final

from OpenSSL import crypto
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from txredisapi import RedisError, ResponseError

from pushd.backends.interface import BackendUnusable
from pushd.backends.redis.address import Address
from pushd.backends.redis.link import NotUsable, SingleProtocolFactory
from pushd.backends.redis.protocols import CommandProtocol
from pushd.net.endpoint_errors import reason_of

_SENTINEL_SECONDS: Final = 1.0
"""How long one Sentinel may take to answer before the next is asked."""


class Locator:
    """Finds the current address of Redis.

    :param ca_file: a file of trusted certificates in PEM; if empty, those of the system are trusted.
    """

    def __init__(self, address: Address, ca_file: str, reactor: Any) -> None:
        self._address = address
        self._reactor = reactor
        self._trust = None
        self._ca_file = ca_file
        self._sentinels = list(address.hosts)

    def load(self) -> None:
        """Read the trusted certificates.

        :raises BackendUnusable: when they cannot be read.
        """
        if self._ca_file:
            try:
                blocks = Path(self._ca_file).read_bytes().split(b"-----BEGIN ")[1:]
                certificates = [Certificate.loadPEM(b"-----BEGIN " + block) for block in blocks]
                self._trust = trustRootFromCertificates(certificates)
            except (OSError, crypto.Error, ValueError) as error:
                reason = f"holds no certificates ({reason_of(error)})"
                raise BackendUnusable(f"backend.ca_file: {self._ca_file} {reason}") from error
            if not blocks:
                raise BackendUnusable(f"backend.ca_file: {self._ca_file} holds no certificates")

    async def find(self) -> IStreamClientEndpoint:
        """Return the endpoint of the master.

        :raises NotUsable: when no Sentinel knows a master.
        """
        if self._address.path:
            return UNIXClientEndpoint(self._reactor, self._address.path)
        if self._address.service:
            return self._network(*await self._ask_sentinels())
        return self._network(*self._address.hosts[0])

    def _network(self, host: str, port: int) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self._reactor, host, port)
        if self._address.tls:
            endpoint = wrapClientTLS(optionsForClientTLS(host, self._trust), endpoint)
        return endpoint

    async def _ask_sentinels(self) -> tuple[str, int]:
        reasons = []
        for sentinel in list(self._sentinels):
            try:
                master = await self._ask(*sentinel)
            except (RedisError, ConnectError, OSError, TooLate) as error:
                reasons.append(str(error) or type(error).__name__)
                continue
            if master is not None:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return master
            reasons.append("a Sentinel does not know this master")
        raise NotUsable(f"no Sentinel names a master {self._address.service}: {'; '.join(dict.fromkeys(reasons))}")

    async def _ask(self, host: str, port: int) -> tuple[str, int] | None:
        protocol = CommandProtocol(_SENTINEL_SECONDS, self._reactor)
        connecting: Deferred[Any] = self._network(host, port).connect(SingleProtocolFactory(protocol))
        await connecting.addTimeout(_SENTINEL_SECONDS, self._reactor)
        try:
            question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.service)
            try:
                found = await protocol.execute_command(*question)
            except ResponseError as error:
                if "NOAUTH" not in str(error):
                    raise
                await log_in(protocol, self._address)
                found = await protocol.execute_command(*question)
        finally:
            protocol.transport.abortConnection()
        try:
            return (found[0].decode("ascii"), int(found[1])) if found else None
        except (AttributeError, LookupError, TypeError, ValueError):
            raise ResponseError("the server does not answer like a Sentinel") from None


async def log_in(protocol: Any, address: Address) -> None:
    """Authenticate, if the address has a password.

    :raises RedisError: when Redis refuses.
    """
    if address.password is not None:
        user = () if address.user is None else (address.user,)
        await protocol.execute_command("AUTH", *user, address.password)
