"""Firefox, driven by WebDriver BiDi, which it speaks itself: Debian has no driver for it, and none is needed."""

import base64
import json
import re
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.browser.daemon import wait

START_SECONDS = 30.0
CALL_SECONDS = 15.0


class Firefox:
    """A Firefox without a window, with one tab at a time that counts.

    :param folder: an empty one, for its profile.
    """

    def __init__(self, path: str, folder: Path) -> None:
        self.tab = ""
        self.complaints: list[str] = []
        """Errors that pages have told since the tab was opened."""
        self._calls = 0
        self._log = folder / "log"
        profile = folder / "profile"
        profile.mkdir()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [path, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._socket: ClientConnection | None = None
        self._open = ExitStack()

    def start(self) -> "Firefox":
        """Connect, and open a session."""
        address = wait(self._address, "Firefox listens", START_SECONDS)
        self._socket = self._open.enter_context(connect(f"{address}/session", max_size=None, proxy=None))
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        return self

    def stop(self) -> None:
        """End it."""
        try:
            if self._socket is not None:
                self.call("browser.close")
            self._open.close()
            self._process.wait(CALL_SECONDS)
        except (AssertionError, ConnectionClosed, TimeoutError, subprocess.TimeoutExpired):
            pass
        finally:
            self._process.kill()
            self._process.wait()

    def send(self, method: str, **params: object) -> None:
        """Give a command; its result does not matter."""
        assert self._socket is not None
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": params}))

    def call(self, method: str, **params: object) -> Any:
        """Give a command; wait for its result."""
        self.send(method, **params)
        assert self._socket is not None
        deadline = time.monotonic() + CALL_SECONDS
        while (answer := json.loads(self._socket.recv(deadline - time.monotonic()))).get("id") != self._calls:
            if answer.get("method") == "log.entryAdded" and answer["params"]["level"] == "error":
                self.complaints.append(answer["params"]["text"])
        assert answer["type"] == "success", answer
        return answer["result"]

    def open_tab(self) -> None:
        """Open a new tab, in place of the one before."""
        before, self.tab = self.tab, self.call("browsingContext.create", type="tab")["context"]
        if before:
            self.call("browsingContext.close", context=before)
        self.complaints.clear()

    def navigate(self, url: str, *, endless: bool = False) -> None:
        """Go to an address, and wait for the page unless it is `endless`."""
        give = self.send if endless else self.call
        give("browsingContext.navigate", context=self.tab, url=url, wait="none" if endless else "complete")

    def evaluate(self, script: str) -> Any:
        """Give the value of an expression, if it is a plain one."""
        target = {"context": self.tab}
        answer = self.call("script.evaluate", expression=script, target=target, awaitPromise=True)
        assert answer["type"] == "success", answer
        return answer["result"].get("value")

    def screenshot(self, side: int, left: int = 0, top: int = 0) -> bytes:
        """Give a picture of a square on the screen: without more, of its upper left corner."""
        clip = {"type": "box", "x": left, "y": top, "width": side, "height": side}

        def capture() -> str:
            try:
                taken = self.call("browsingContext.captureScreenshot", context=self.tab, clip=clip)
            except AssertionError:  # between two documents there is nothing to be seen
                return ""
            return str(taken["data"])

        return base64.b64decode(wait(capture, "a picture of the screen", CALL_SECONDS))

    def _address(self) -> str:
        text = self._log.read_text(errors="replace")
        assert self._process.poll() is None, text
        found = re.search(r"WebDriver BiDi listening on (ws://\S+)", text)
        return found[1] if found else ""
