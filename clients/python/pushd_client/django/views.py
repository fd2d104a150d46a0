"""The views to which the daemon sends requests: the callback ``[auth.callback]`` and hooks."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from importlib import import_module
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from ..callbacks import Answer, Question, decide, verify_question
from ..webhooks import InvalidWebhook, verify_webhook
from .apps import current_settings

logger = logging.getLogger("pushd_client.django")
MAX_BYTES: Final = 16 << 20
"""The largest body: a batch of hooks with the data of messages may be larger than ``DATA_UPLOAD_MAX_MEMORY_SIZE``."""
View = Callable[[HttpRequest], HttpResponse]


@dataclass(frozen=True)
class DjangoQuestion(Question):
    """What the daemon asks, with the user of the session."""

    @cached_property
    def user(self) -> Any:
        """The user of the session in the header ``Cookie``, which ``forward_headers`` must contain; `AnonymousUser`
        without one."""
        from django.contrib.auth import get_user

        request = HttpRequest()
        request.COOKIES = self.cookies
        store = import_module(settings.SESSION_ENGINE).SessionStore
        request.session = store(self.cookies.get(settings.SESSION_COOKIE_NAME))
        return get_user(request)


def authorization_view(function: Callable[[DjangoQuestion], Answer]) -> View:
    """Return a view for ``[auth.callback]``, which verifies the request and answers what a function returns.

    The function returns a grant, such as ``{"subscribe": ["news/**"]}``, a `Decision`, or whether the action is
    allowed; None refuses it.
    """

    def respond(request: HttpRequest) -> HttpResponse:
        secrets = current_settings().secrets("CALLBACK_SECRET")
        question = verify_question(request.headers, _body(request), secrets)
        return JsonResponse(decide(function(DjangoQuestion(**vars(question)))).to_json())

    return _signed_view(function, respond)


def webhook_view(function: Callable[[list[dict[str, Any]]], HttpResponse | None]) -> View:
    """Return a view for a hook, which verifies the request and passes its events to a function.

    The daemon sends the same events again until it gets a response of 200 to 299. So the function may raise; and it
    ignores events whose ``id`` it has handled, which it remembers in the same transaction.
    """

    def respond(request: HttpRequest) -> HttpResponse:
        secrets = current_settings().secrets("HOOK_SECRET")
        batch = verify_webhook(request.headers, _body(request), secrets)
        return function(batch.get("events", [])) or HttpResponse(status=204)

    return _signed_view(function, respond)


class _TooLarge(Exception):
    """A body has more than `MAX_BYTES`."""


def _signed_view(function: Callable[..., object], respond: View) -> View:
    @csrf_exempt  # the signature shows who has sent it
    @require_POST
    @wraps(function)
    def view(request: HttpRequest) -> HttpResponse:
        try:
            return respond(request)
        except InvalidWebhook as error:
            logger.warning("Request to %s is refused, since it is not from pushd: %s", request.path, error)
            return HttpResponse(str(error), status=400, content_type="text/plain")
        except _TooLarge:
            return HttpResponse(status=413)

    return view


def _body(request: HttpRequest) -> bytes:
    content = request.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _TooLarge
    return content
