"""What a client consists of, whatever its connections are."""

import time
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        :param resolve: see `TokenSource`, as for `lock`.
        :param clock: returns monotonic seconds.
        """
        self.address = address
        self.tokens = TokenSource(token, resolve, lock)
        self.caller = Caller(address, network, self.tokens, timeout, retry_seconds, backoff.start, clock)
        self._timeout = timeout
        self._retry_seconds = retry_seconds
        self._backoff = backoff
        self._clock = clock

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
            self._clock,
        )
