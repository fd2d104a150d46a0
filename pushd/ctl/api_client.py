"""The client of pushctl: that of `pushd.client`, with a token of the command line, and with other transports."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pushd.client import Pushd, Subscription
from pushd.client.core.address import Address, quote_topics
from pushd.client.core.call import Call, Repeat, read_json
from pushd.client.core.interface import HttpRequest, HttpResponse
from pushd.client.core.subscription_options import SubscriptionOptions
from pushd.client.network.sync_http import SyncHttp
from pushd.client.network.sync_subscription import SyncSubscriptionNetwork
from pushd.client.sync import run
from pushd.ctl.credential import Credential, choose_credential

T = TypeVar("T")
NetworkFactory = Callable[[Address, SyncHttp, int], SyncSubscriptionNetwork]
"""Returns the network of a subscription; the number is the most bytes of a message."""

_TIMEOUT_SECONDS = 30.0
quote_path = quote_topics
"""Return comma-separated topics, percent-encoded for the path of a URL."""


class ApiClient(Pushd):
    """A client of one daemon, given the address of its HTTP listener.

    :param url: ``http://HOST[:PORT][/PATH]`` or ``https://…``.
    :param credential: sent with each request; None: nothing.
    :param retry_seconds: for how long a call that failed is repeated, where a repeat does no harm.
    :raises ValueError: when the URL has another form.
    """

    def __init__(self, url: str, credential: Credential | None = None, *, retry_seconds: float = 0.0) -> None:
        self.address = Address(url)
        self.credential = credential or Credential()
        self._url = url
        super().__init__(url, self.credential.source(), timeout=_TIMEOUT_SECONDS, retry_seconds=retry_seconds)

    def with_retries(self, seconds: float) -> "ApiClient":
        """Return a client of the same daemon that repeats calls for as long as this."""
        return ApiClient(self._url, self.credential, retry_seconds=seconds)

    def perform(self, call: Call[T]) -> T:
        """Return the result of a call.

        :raises ConnectionFailed: when there is no answer.
        :raises Refused: when the daemon refuses it, or the answer is not one of pushd.
        """
        return self._perform(call)

    def request_json(
        self, method: str, path: str, query: Mapping[str, object] | None = None, body: bytes | None = None
    ) -> Any:
        """Send a request and return the decoded JSON body. Raises as `perform`.

        :param query: query parameters; those that are None are omitted.
        """
        return self.perform(Call(method, path, read_json, query or {}, body, repeat=Repeat.IF_NOT_DONE))

    def request_text(self, method: str, path: str) -> str:
        """Send a request and return the body, which is UTF-8. Raises as `perform`."""
        return self.perform(Call(method, path, lambda response: response.body.decode("utf-8", "replace")))

    def get(self, path: str) -> HttpResponse:
        """Return the response to a GET, whatever its status.

        :raises ConnectionFailed: when there is no answer.
        """
        headers = self.credential.headers()
        return run(self._http.send(HttpRequest("GET", self.address.target(path), headers, None, _TIMEOUT_SECONDS)))

    def subscription(self, options: SubscriptionOptions, make_network: NetworkFactory) -> Subscription:
        """Return a subscription, which is not connected yet.

        :param make_network: returns what opens its connections, and understands their wire.
        """
        network = make_network(self.address, self._http, options.max_message_bytes)
        return Subscription(self._core.subscriber(options, network), network)


def api_of(args: Namespace) -> ApiClient:
    """Return a client of the daemon that ``--url`` names, with the token that the command line or the environment has.

    :raises ValueError: when the URL is invalid.
    :raises CtlError: when the token is.
    """
    return ApiClient(args.url, choose_credential(args))
