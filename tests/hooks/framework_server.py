"""Serves a receiver of docs/hooks.md with its framework: ``python framework_server.py FRAMEWORK``.

The receiver is the module ``receiver.views`` of the current folder. Prints the port, and then what the receiver prints.
"""

import importlib
import os
import socket
import sys
from typing import Any
from wsgiref.simple_server import make_server

MODELS = """from django.db import models

class HandledEvent(models.Model):
    id = models.CharField(primary_key=True, max_length=200)
"""


def serve_flask() -> None:
    """Serve the Flask application."""
    serve_wsgi(importlib.import_module("receiver.views").app)


def serve_fastapi() -> None:
    """Serve the FastAPI application with Uvicorn."""
    import uvicorn

    app = importlib.import_module("receiver.views").app
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])


def serve_django() -> None:
    """Serve the view in a Django project of one application, with a database in the current folder."""
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from django.urls import path

    urls: list[Any] = []
    with open("receiver/models.py", "w") as file:
        file.write(MODELS)
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
        INSTALLED_APPS=["receiver"],
        ROOT_URLCONF=tuple(urls),
        MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
    )
    django.setup()
    settings.ROOT_URLCONF = (path("pushd/hooks", importlib.import_module("receiver.views").pushd_hooks),)
    call_command("migrate", run_syncdb=True, verbosity=0)
    serve_wsgi(get_wsgi_application())


def serve_wsgi(app: Any) -> None:
    """Serve a WSGI application."""
    server = make_server("127.0.0.1", 0, app)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.path[0] = os.getcwd()
    {"flask": serve_flask, "fastapi": serve_fastapi, "django": serve_django}[sys.argv[1]]()
