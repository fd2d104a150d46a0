"""Shortcuts for tests of the dispatcher."""

from pushd.core.delivery import Recent
from pushd.core.dispatcher import Dispatcher
from tests.build import FakePeer, message

ALL = 1_000_000
"""A limit of `Dispatcher.run` that no test reaches."""


def dispatcher_of(*peers: FakePeer) -> Dispatcher:
    """Return a dispatcher with the topics of some peers."""
    dispatcher = Dispatcher(Recent())
    for peer in peers:
        for topic in peer.subscriber.starts:
            dispatcher.subscribe([topic], peer.subscriber)
    return dispatcher


def accept(dispatcher: Dispatcher, text: str) -> None:
    """Accept messages written as ``CHANNEL:SEQ``."""
    for word in text.split():
        channel, _, seq = word.partition(":")
        dispatcher.accept(message(int(seq), channel))
