"""A master, a replica, and three Sentinels that watch them."""

from pathlib import Path

from tests.backends.redis_server import RedisServer, until

_CONFIG = """port {port}
bind 127.0.0.1
dir {folder}
logfile {folder}/log
sentinel monitor mymaster 127.0.0.1 {master} 2
sentinel down-after-milliseconds mymaster 1500
sentinel failover-timeout mymaster 3000
"""
_SECONDS = 60.0
"""Sentinel does nothing for 30 seconds after it was stopped for two."""


class Watched:
    """Two Redis under the watch of three Sentinels."""

    def __init__(self, folder: Path) -> None:
        self.master = RedisServer(folder / "one").start()
        options = ("--replicaof", f"127.0.0.1 {self.master.port}", "--repl-diskless-sync-delay", "0")
        self.replica = RedisServer(folder / "two", *options).start()
        self.sentinels = [RedisServer(folder / f"sentinel{number}", sentinel=True) for number in range(3)]
        for sentinel in self.sentinels:
            sentinel.folder.mkdir()
            config = _CONFIG.format(port=sentinel.port, folder=sentinel.folder, master=self.master.port)
            (sentinel.folder / "sentinel.conf").write_text(config)
            sentinel.start()

    @property
    def url(self) -> str:
        """Give the URL for a node."""
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/mymaster"

    def is_ready(self) -> bool:
        """Return whether the replica is in step, and the Sentinels know of it and of each other."""
        if b"master_link_status:up" not in self.replica.ask("INFO", "replication"):
            return False
        for sentinel in self.sentinels:
            raw = sentinel.ask("SENTINEL", "MASTER", "mymaster")
            facts = dict(zip(raw[::2], raw[1::2], strict=True))
            if facts[b"num-slaves"] != b"1" or facts[b"num-other-sentinels"] != b"2":
                return False
        return True

    def is_failed_over(self) -> bool:
        """Return whether the replica is the master. As it becomes that, it closes all connections."""
        try:
            return bool(self.replica.ask("ROLE")[0] == b"master")
        except ConnectionError:
            return False

    async def ready(self) -> "Watched":
        """Wait until `is_ready`."""
        await until(self.is_ready, "Sentinels that know all", _SECONDS)
        return self

    async def until_failed_over(self) -> None:
        """Wait until the replica is the master."""
        await until(self.is_failed_over, "the replica as master", _SECONDS)

    def rejoin(self) -> None:
        """After a failover, start the killed master again, as the replica of the new one."""
        options = ("--replicaof", f"127.0.0.1 {self.replica.port}", "--repl-diskless-sync-delay", "0")
        former = RedisServer(self.master.folder, *options, port=self.master.port)
        self.master, self.replica = self.replica, former.start()

    def kill(self) -> None:
        """Kill all of them."""
        for server in (*self.sentinels, self.replica, self.master):
            server.kill()
