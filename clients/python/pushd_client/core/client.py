"""What a client consists of, whatever its connections are."""

from collections.abc import Awaitable, Callable
from typing import Any

from .address import Address
from .backoff import Backoff
from .caller import Caller
from .interface import Lock, Network, SubscriptionNetwork
from .subscriber import Subscriber
from .subscription_options import SubscriptionOptions
from .token_source import TokenSource


class ClientCore:
    """The address, the token and the calls of one client. The parameters are those of `Pushd`."""

    def __init__(
        self,
        address: Address,
        network: Network,
        token: str | Callable[[], Any] | None,
        resolve: Callable[[Any], Awaitable[object]],
        lock: Lock,
        timeout: float,
        retry_seconds: float,
        backoff: Backoff,
    ) -> None:
        """
        :param resolve: see `TokenSource`, as for `lock`.
        """
        self.address = address
        self.tokens = TokenSource(token, resolve, lock)
        self.caller = Caller(address, network, self.tokens, timeout, retry_seconds, backoff.start)
        self._timeout = timeout
        self._retry_seconds = retry_seconds
        self._backoff = backoff

    def subscriber(self, options: SubscriptionOptions, network: SubscriptionNetwork) -> Subscriber:
        """Return a subscription, which is not connected yet."""
        return Subscriber(
            options,
            self.address,
            network,
            self.caller,
            self.tokens,
            self._timeout,
            self._retry_seconds,
            self._backoff.start(),
        )
