"""What the three clients share: no sockets, no event loop, no threads.

Its coroutines await only what `interface` describes. The synchronous client implements that without suspending, so that
its coroutines run to completion at once; the others await a Future or a Deferred.
"""
