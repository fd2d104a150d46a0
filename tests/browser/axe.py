"""What axe-core finds in a page: https://github.com/dequelabs/axe-core."""

from typing import Any

from playwright.sync_api import Page

from tests.programs import find_node_package

_RUN = "axe.run().then(({violations}) => violations.map(({id, nodes}) => [id, ...nodes.map(({html}) => html)]))"


class Axe:
    """Checks what a page shows. It is injected again after each navigation.

    The policy of the page does not apply to it.
    """

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._script = (find_node_package("axe-core") / "axe.min.js").read_text()

    def inject(self) -> None:
        """Load axe-core into the page."""
        self._session.send("Runtime.evaluate", {"expression": self._script})

    def faults(self) -> Any:
        """Return the faults: the name of a rule and the elements that violate it."""
        options = {"expression": _RUN, "awaitPromise": True, "returnByValue": True}
        return self._session.send("Runtime.evaluate", options)["result"].get("value")
