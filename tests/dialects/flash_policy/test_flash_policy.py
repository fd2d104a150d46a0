"""Policy requests of Flash, and lines that end with NUL, over real connections."""

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from tests.transports.daemon import MovableReactor, turns, until

SETTINGS: dict[str, object] = {"dialects.enable": "flash-policy"}
FILE = '[dialects.flash-policy]\ndomains = ["*.games.example", "shop.example"]\nports = ["9001", "9003-9005"]\n'
POLICY = (
    b'<?xml version="1.0"?><cross-domain-policy>'
    b'<allow-access-from domain="*.games.example" to-ports="9001,9003-9005"/>'
    b'<allow-access-from domain="shop.example" to-ports="9001,9003-9005"/></cross-domain-policy>\0'
)
_NO_REASON = Failure(ConnectionDone())
REQUEST = b"<policy-file-request/>\0"


class Raw(Protocol):
    """A client that keeps all bytes."""

    def __init__(self, *sent: bytes) -> None:
        self.received = b""
        self.is_lost = False
        self._sent = sent

    def connectionMade(self) -> None:
        """Send."""
        assert self.transport is not None
        for data in self._sent:
            self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def connectionLost(self, reason: Failure = _NO_REASON) -> None:
        """Note it."""
        self.is_lost = True


async def ask(daemon, *sent):
    client = daemon.connect("tcp", Raw(*sent))
    await until(lambda: client.is_lost, "the connection is closed")
    return client.received


async def configured(start_daemon, tmp_path, text=FILE):
    file = tmp_path / "pushd.toml"
    file.write_text(text)
    return await start_daemon(SETTINGS, file=file)


async def test_a_policy_request_gets_the_policy_alone(start_daemon, tmp_path):
    daemon = await configured(start_daemon, tmp_path)
    assert await ask(daemon, REQUEST) == POLICY
    assert await ask(daemon, *(bytes([byte]) for byte in REQUEST)) == POLICY


async def test_a_policy_request_may_take_its_time(start_daemon, tmp_path):
    file = tmp_path / "pushd.toml"
    file.write_text(FILE)
    reactor = MovableReactor()
    daemon = await start_daemon(SETTINGS, reactor, file)
    slow, other = (daemon.connect("tcp", Raw(sent)) for sent in (REQUEST[:9], b"<policy!"))
    await until(lambda: daemon.counters.connections["tcp"] == 2, "both connections")
    await turns()
    await reactor.pass_time(4)
    await until(lambda: other.received.startswith(b"INFO"), "the greeting")
    assert slow.received == b""
    slow.transport.write(REQUEST[9:])
    await until(lambda: slow.is_lost, "the connection is closed")
    assert slow.received == POLICY


async def test_the_policy_allows_nothing_by_default(start_daemon):
    policy = await ask(await start_daemon(SETTINGS), REQUEST)
    assert policy == b'<?xml version="1.0"?><cross-domain-policy></cross-domain-policy>\0'


async def test_nul_ends_lines_and_the_greeting_comes_first(start_daemon):
    daemon = await start_daemon(SETTINGS)
    received = await ask(daemon, b"PUB a x\0PING 1\r\nQUIT\0")
    assert received.startswith(b"INFO {")
    assert b"PONG 1" in received
    assert await daemon.history("a")


async def test_a_client_that_waits_is_greeted(start_daemon):
    client = (await start_daemon(SETTINGS)).connect("tcp", Raw())
    await until(lambda: client.received.endswith(b"\r\n"), "a greeting without a line")
    assert client.received.startswith(b"INFO {")


async def test_without_the_option_a_policy_request_is_an_unknown_command(daemon):
    client = daemon.connect("tcp", Raw(b"<policy-file-request/>\0\r\nPING 1\r\nQUIT\r\n"))
    await until(lambda: client.is_lost, "the connection is closed")
    assert b"cross-domain" not in client.received
    assert b"-ERR unknown-command" in client.received
