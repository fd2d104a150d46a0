"""The client for Twisted, by treq and Autobahn."""

from .sync import Pushd, Subscription


class TwistedPushd(Pushd):
    """As `Pushd`, with methods that return a Deferred; `subscribe` returns a `TwistedSubscription`."""


class TwistedSubscription(Subscription):
    """As `Subscription`, an asynchronous iterator for coroutines of Twisted."""
