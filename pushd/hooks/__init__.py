"""Hooks: what happens in the daemon is reported to the application, by signed requests (docs/hooks.md)."""
