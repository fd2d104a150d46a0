"""The contract between the hub and a transport. docs/adding-a-transport.md is a complete example.

What a transport calls for each connection, in this order:

    1  Subscriber(connection, wire, limits, policy, Peer(transport, address))
    2  live.add(connection)                                 once: the peer gets an id; raises TooManyConnections
    3  transport.registerProducer(connection, True)         see `Backpressure`
    4  subscriber.attach(direct_handle(transport))          optional: the fan-out writes to the socket directly
    5  await hub.subscribe(subscriber, topics, since)       returns the start position; raises refusals
    6  send the headers, or the reply to a command          step 5 sends nothing, so that these come first
    7  await hub.replay_and_go_live(subscriber, opening)    the replay, as fast as the peer reads, then live messages
    8  hub.unsubscribe(subscriber, topics)                  a peer asks for it, or a channel has ended
    9  live.remove(connection, why)                         once: the connection starts to close
   10  live.discard(connection)                             the connection is lost, with or without step 9

Steps 5 to 8 may be repeated; a connection with commands leaves them to a `Session`. A connection that starts as an HTTP
request does steps 3 and 4 after step 5, for which it uses `live.subscribe`: a request that is refused is removed.

What the hub calls meanwhile is in `Outlet`. The rules:

- `write` never waits. If the send buffer is full, the transport calls `pause` on the subscriber, which then queues;
  `resume` once the buffer is empty. With a keepalive, `write` sets `subscriber.last_write`. If `write` raises an
  exception, the hub closes this connection and no other.
- `close` is called once, and never after step 9. It reports the refusal where the protocol can, and removes the
  connection. Removing closes the subscriber, so `subscriber.is_closed` is the state of the connection.
- A connection may be closed or lost while step 5 waits for the backend. Then `subscribe` raises `SubscriberClosed`.
- A connection that the transport itself has to close, for instance because of a refusal in step 5, is closed by
  `hub.disconnect`, which counts the refusal and calls `close`.
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
