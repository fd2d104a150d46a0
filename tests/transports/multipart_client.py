"""A client of `multipart/mixed` that parses parts and their headers incrementally (RFC 2046)."""

from collections.abc import Mapping
from urllib.parse import unquote

from tests.transports.client import End, Gap, Received
from tests.transports.stream_client import StreamClient


class Mixed(StreamClient):
    """Parts that all stay."""

    label = "mixed"
    resource = "mixed"
    transport_name = "mixed"

    async def ask(self, path: str, headers: Mapping[str, str] | None = None, version: str = "1.1") -> None:
        """See `StreamClient`."""
        self._rest = b""
        self._read = self._read_boundary
        self._part: dict[str, str] = {}
        await super().ask(path, headers, version)

    def feed(self, data: bytes) -> None:
        """See `StreamClient`."""
        self._rest += data
        while self._read():
            pass

    def _line(self) -> bytes | None:
        line, end, rest = self._rest.partition(b"\r\n")
        if not end:
            return None
        self._rest = rest
        return line

    def _read_boundary(self) -> bool:
        line = self._line()
        if line is None:
            return False
        kind, _, boundary = self.headers["content-type"].partition(";boundary=")
        assert (kind, boundary.isalnum()) == ("multipart/mixed", True)
        assert line in (b"--" + boundary.encode(), b"--" + boundary.encode() + b"--")
        self._read = self._read_after_the_end if line.endswith(b"--") else self._read_header
        return True

    def _read_header(self) -> bool:
        line = self._line()
        if line is None:
            return False
        name, _, value = line.decode("ascii").partition(": ")
        words = [unquote(word) for word in value.split(" ")]
        match name:
            case "":
                self._read = self._read_body
            case "Pushd-Gap":
                self.deliver_result(Gap(*words))
            case "Pushd-End":
                self.deliver_result(End(words[0]))
            case "Pushd-Ping":
                self.deliver_result(None)
            case _:
                assert name not in self._part
                self._part[name] = value
        return True

    def _read_body(self) -> bool:
        size = int(self._part.get("Content-Length", "0"))
        if len(self._rest) < size + 2:
            return False
        data, end, self._rest = self._rest[:size], self._rest[size : size + 2], self._rest[size + 2 :]
        assert end == b"\r\n"
        part, self._part = self._part, {}
        if "Pushd-Channel" in part:
            event = unquote(part["Pushd-Event"]) if "Pushd-Event" in part else None
            self.deliver_result(Received(part.get("Pushd-Id"), unquote(part["Pushd-Channel"]), data, event))
        self._read = self._read_boundary
        return True

    def _read_after_the_end(self) -> bool:
        assert not self._rest
        return False
