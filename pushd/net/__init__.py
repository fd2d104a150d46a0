"""Socket-level features that Twisted does not provide. Nothing here depends on messages."""
