"""The client for asyncio, by httpx."""

from .sync import Pushd, Subscription


class AsyncPushd(Pushd):
    """As `Pushd`, with coroutine methods; `subscribe` returns an `AsyncSubscription`."""


class AsyncSubscription(Subscription):
    """As `Subscription`, an asynchronous iterator."""
