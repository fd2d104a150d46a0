"""What the sockets need that Twisted does not give. Knows no message."""
