"""Subscriptions over all transports, which survive reconnects."""

import logging
import time
from collections.abc import Iterator, Mapping
from functools import partial

from pushd.client import Backoff, Subscription, TemporarilyRefused
from pushd.client.core.subscription_options import SubscriptionOptions, subscription_options
from pushd.client.messages import Item
from pushd.client.network.sync_subscription import SyncSubscriptionNetwork
from pushd.ctl.api_client import ApiClient, NetworkFactory
from pushd.ctl.terminal import warn
from pushd.ctl.wires.longpoll import LongPollNetwork
from pushd.ctl.wires.mixed import MixedNetwork
from pushd.ctl.wires.stream import StreamNetwork
from pushd.ctl.wires.tcp import TcpNetwork

TRANSPORTS: Mapping[str, NetworkFactory] = {
    "stream": StreamNetwork,
    "sse": SyncSubscriptionNetwork,
    "mixed": MixedNetwork,
    "websocket": SyncSubscriptionNetwork,
    "longpoll": LongPollNetwork,
    "tcp": TcpNetwork,
}
"""The network of each transport."""
_IDLE_SECONDS = 60.0
"""Streams send a keepalive every 25 s."""
_MAX_MESSAGE_BYTES = 1 << 30


def subscribe(
    api: ApiClient,
    topics: str,
    *,
    transport: str = "stream",
    since: str | None = None,
    slow: str | None = None,
    responder: bool = False,
    tcp: tuple[str, int] | None = None,
) -> Iterator[Item]:
    """Yield messages, gaps and ends until all channels have ended; warn of each reconnect.

    After a connection failure it resumes from the last message, or from the start cursor before there was one.

    :param transport: one of `TRANSPORTS`.
    :param tcp: host and port of the line listener, for the transport ``tcp``.
    :raises ConnectionFailed: when the first connection cannot be opened.
    :raises Refused: when the daemon refuses the subscription, other than for a while.
    """
    options = subscription_options(
        topics,
        since=since,
        slow=slow,
        responder=responder,
        transport="websocket" if transport == "websocket" else "sse",
        idle_timeout=_IDLE_SECONDS,
        max_message_bytes=_MAX_MESSAGE_BYTES,
    )
    network: NetworkFactory = TRANSPORTS[transport]
    if transport == "tcp" and tcp is not None:
        network = partial(TcpNetwork, endpoint=tcp)
    _report_reconnects()
    subscription = _open(api, options, network)
    try:
        yield from subscription
    finally:
        subscription.close()


def _open(api: ApiClient, options: SubscriptionOptions, network: NetworkFactory) -> Subscription:
    """Return a connected subscription; a refusal for a while is repeated, since a lost connection is, too."""
    delays = Backoff().start()
    while True:
        try:
            return api.subscription(options, network).__enter__()
        except TemporarilyRefused as refused:
            delay = delays.delay(refused.retry_after)
            warn(f"{refused}: reconnecting in {delay:.1f} s")
            time.sleep(delay)


def _report_reconnects() -> None:
    """Write what the client logs, such as reconnects, to standard error."""
    logger = logging.getLogger("pushd_client")
    if not any(isinstance(handler, _Warnings) for handler in logger.handlers):
        logger.addHandler(_Warnings())
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Warnings(logging.Handler):
    """Writes records as warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        warn(record.getMessage())
