"""The contract between the hub and a transport. docs/adding-a-transport.md is a complete example.

What a transport does with each connection, in this order:

    1  Subscriber(outlet, wire, limits, policy, Peer(transport, address))   created with the connection
    2  live.add(connection)                                   once: the peer gets an id and is counted
    3  await live.subscribe(connection, topics, since)        the start position; a two-way peer uses its Session
    4  transport.registerProducer(connection, True)           backpressure: see `Backpressure`
    5  subscriber.attach(direct_handle(transport))            optional: lets the fan-out write to the socket directly
    6  write the headers or the reply                         nothing is sent before step 7
    7  await hub.replay_and_go_live(subscriber, opening)      the replay, at the pace of the peer, then live messages
    8  hub.unsubscribe(subscriber, topics)                    when the peer asks for it, or a channel has ended
    9  live.remove(connection, why)                           once: when the connection starts to close
       live.discard(connection)                               when it is lost, perhaps after step 9

What the hub calls meanwhile is in `Outlet`. The rules:

- `write` never waits and never raises. If the send buffer is full, the transport calls `pause` on the subscriber, which
  then queues; `resume` once the buffer is empty. `write` also sets `subscriber.last_write` where there is a keepalive.
- `close` is called once, and never after step 9. It tells the peer why where the protocol can, and removes the
  connection. `remove` closes the subscriber, so `subscriber.is_closed` is the state of the connection.
- A connection may be closed, or its client may disconnect, while step 3 waits for the backend. Then `subscribe` raises
  the refusal or returns None, and the connection has been removed.
- Messages are immutable, and are encoded at most once per wire: a transport never changes the bytes of `write`.
- Everything that a peer can make the daemon keep is bounded, and counted in the memory budget of `QueueLimits`.
"""

from typing import Protocol

from pushd.core.errors import Refusal
from pushd.core.outlet import Outlet
from pushd.core.subscriber import Subscriber
from pushd.net.keepalive import Pingable
from pushd.transports.backpressure import Backpressure

__all__ = ["Backpressure", "Connection", "Outlet", "Pingable", "Transport"]


class Connection(Outlet, Protocol):
    """A connection of a transport: the outlet of its subscriber. With a keepalive it is a `Pingable`, too."""

    @property
    def subscriber(self) -> Subscriber:
        """The subscriber, which is the same for the whole life of the connection."""


class Transport(Protocol):
    """All connections of one transport, as the daemon sees them when it shuts down."""

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """Close all connections.

        :param busy: whether to close those whose clients have not read their queue yet, too.
        """
