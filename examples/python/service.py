"""A Twisted service, for `twistd -ny service.py`: it confirms each order to the user who has sent it."""

from pathlib import Path

from pushd_client import ClientClosed, Message, TwistedPushd
from twisted.application.service import Application, Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

TOKEN = Path("app.token").read_text().strip()


class Confirmations(Service):
    """Subscribes to all orders, and publishes to their users."""

    log = Logger()

    def startService(self) -> None:
        """Begin to subscribe."""
        super().startService()
        self.pushd = TwistedPushd("http://127.0.0.1:8080", TOKEN)
        self.done = ensureDeferred(self.confirm_all())
        self.done.addErrback(self.report)

    async def confirm_all(self) -> None:
        """Confirm what arrives, until the client is closed. After an outage it resumes where it was."""
        async for item in self.pushd.subscribe("orders/*", since="all"):
            if isinstance(item, Message):
                text = f"we have your order of {item.data['item']}"
                await self.pushd.publish(
                    f"users/{item.data['user']}/inbox", {"from": "shop", "text": text}, key=item.id
                )

    def report(self, failure: Failure) -> None:
        """Log why no more orders are confirmed, unless the client was closed during a publish."""
        if not failure.check(ClientClosed):
            self.log.failure("Orders are not confirmed any more", failure)

    def stopService(self) -> "Deferred[None]":
        """End the subscription."""
        super().stopService()
        return self.pushd.close().addCallback(lambda _: self.done)


application = Application("confirmations")
Confirmations().setServiceParent(application)
