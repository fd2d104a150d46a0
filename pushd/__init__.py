"""pushd: a server-push daemon on Twisted."""

__version__ = "0.1.0"
