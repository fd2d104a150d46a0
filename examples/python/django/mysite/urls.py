"""The addresses, as `django-admin startproject` makes them, and the page."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]

from mysite.views import inbox  # noqa: E402 (as docs/django.md appends it)

urlpatterns += [path("", inbox)]
