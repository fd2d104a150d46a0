"""A proxy that cuts connections after a number of bytes that the daemon has sent."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress

_STOP_SECONDS = 30.0


class CuttingProxy:
    """Pass connections to a port of this machine, and cut each of them.

    :param port: the port to which connections are passed.
    :param budgets: for each connection the number of bytes from the daemon after which it is cut; when there are no
        more, connections are not cut any more.
    """

    def __init__(self, port: int, budgets: Iterable[int]) -> None:
        self.port = 0
        self.cuts = 0
        """Number of connections that were cut."""
        self._target = port
        self._budgets: Iterator[int] = iter(budgets)
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """Its URL, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "CuttingProxy":
        self._thread.start()
        assert self._started.wait(_STOP_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        budget = next(self._budgets, None)
        try:
            there, here = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        up = asyncio.ensure_future(_pipe(reader, here))
        left = await _pipe(there, writer, budget)
        if left == 0 and budget is not None:
            self.cuts += 1
            if budget % 2:  # a reset, which may discard what was not read yet
                writer.transport.abort()
        up.cancel()
        here.transport.abort()
        writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None = None) -> int | None:
    """Pass bytes on until the end, or until the budget is used up; return what is left of it."""
    with suppress(OSError):
        while budget is None or budget > 0:
            data = await reader.read(65536)
            if not data:
                break
            if budget is not None:
                data = data[:budget]
                budget -= len(data)
            writer.write(data)
            await writer.drain()
        if budget is None and writer.can_write_eof():
            writer.write_eof()
    return budget
