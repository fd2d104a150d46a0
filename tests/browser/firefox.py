"""Firefox, controlled over WebDriver BiDi, which it supports without a separate driver."""

import base64
import json
import re
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.browser.daemon import wait

START_SECONDS = 60.0
CALL_SECONDS = 30.0


class Firefox:
    """Headless Firefox, with one tab at a time.

    :param folder: an empty directory for its profile.
    :param preferences: those that differ from the defaults.
    """

    def __init__(self, path: str, folder: Path, preferences: Mapping[str, object] | None = None) -> None:
        self.tab = ""
        self.page_errors: list[str] = []
        """Errors that pages have reported since the tab was opened."""
        self._calls = 0
        self._log = folder / "log"
        profile = folder / "profile"
        profile.mkdir()
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in (preferences or {}).items()]
        (profile / "user.js").write_text("\n".join(lines))
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
        """Connect to it, and open a session."""
        address = wait(self._address, "Firefox accepts connections", START_SECONDS)
        self._socket = self._open.enter_context(
            connect(f"{address}/session", max_size=None, proxy=None, open_timeout=CALL_SECONDS)
        )
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        return self

    def stop(self) -> None:
        """Close it."""
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
        """Send a command, without waiting for its result."""
        assert self._socket is not None
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": params}))

    def call(self, method: str, **params: object) -> Any:
        """Send a command; return its result."""
        response = self._ask(method, **params)
        assert response["type"] == "success", response
        return response["result"]

    def _ask(self, method: str, **params: object) -> Any:
        """Send a command; return its response, which may be an error."""
        self.send(method, **params)
        assert self._socket is not None
        deadline = time.monotonic() + CALL_SECONDS
        while (response := json.loads(self._socket.recv(deadline - time.monotonic()))).get("id") != self._calls:
            if response.get("method") == "log.entryAdded" and response["params"]["level"] == "error":
                self.page_errors.append(response["params"]["text"])
        return response

    def open_tab(self) -> None:
        """Open a new tab, and close the previous one."""
        before, self.tab = self.tab, self.call("browsingContext.create", type="tab")["context"]
        if before:
            self.call("browsingContext.close", context=before)
        self.page_errors.clear()

    def navigate(self, url: str, *, endless: bool = False) -> None:
        """Navigate to an address, and wait until it is loaded unless it is `endless`."""
        command = self.send if endless else self.call
        command("browsingContext.navigate", context=self.tab, url=url, wait="none" if endless else "complete")

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression, if it is a string, a number or a boolean."""
        params = {"expression": script, "target": {"context": self.tab}, "awaitPromise": True}
        deadline = time.monotonic() + CALL_SECONDS
        response = self._ask("script.evaluate", **params)
        while response.get("error") == "unknown error":  # while the document is replaced
            assert time.monotonic() < deadline, response
            response = self._ask("script.evaluate", **params)
        result = response["result"]
        assert result["type"] == "success", response
        return result["result"].get("value")

    def screenshot(self, side: int, left: int = 0, top: int = 0) -> bytes:
        """Return a screenshot of a square, by default in the upper left corner."""
        clip = {"type": "box", "x": left, "y": top, "width": side, "height": side}

        def capture() -> str:
            try:
                result = self.call("browsingContext.captureScreenshot", context=self.tab, clip=clip)
            except AssertionError:  # nothing is displayed between two documents
                return ""
            return str(result["data"])

        return base64.b64decode(wait(capture, "a screenshot", CALL_SECONDS))

    def _address(self) -> str:
        text = self._log.read_text(errors="replace")
        assert self._process.poll() is None, text
        found = re.search(r"WebDriver BiDi listening on (ws://\S+)", text)
        return found[1] if found else ""
