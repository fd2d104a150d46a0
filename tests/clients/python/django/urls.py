"""The views of the project."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.urls import path
from pushd_client.django import DjangoQuestion, authorization_view, webhook_view

received: list[dict[str, Any]] = []


@authorization_view
def authorize(question: DjangoQuestion) -> dict[str, list[str]] | bool:
    if question.sub == "app":
        return True
    return question.user.is_authenticated and {"subscribe": [f"users/{question.user.pk}/**"]}


@webhook_view
def hooks(events: list[dict[str, Any]]) -> HttpResponse | None:
    if any(event["type"] == "fail" for event in events):
        raise RuntimeError("the receiver fails")
    received.extend(events)
    return HttpResponse("done", status=202) if len(events) > 1 else None


def page(request: HttpRequest) -> HttpResponse:
    """Show the URL of the channel of the user."""
    template = Template('{% load pushd %}{% pushd_source "users/{sub}/inbox" %}')
    return HttpResponse(template.render(Context({"user": request.user})))


urlpatterns = [path("callback", authorize), path("hooks", hooks), path("page", page)]
