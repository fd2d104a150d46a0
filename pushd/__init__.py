"""pushd: a server-push daemon on Twisted."""

__version__ = "0.2.0"
