"""The benchmark: pushd side by side with its peers, with real sockets, on this machine."""
