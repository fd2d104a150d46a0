"""``pushctl``, the command line of pushd. It imports nothing of the daemon: it is a client like any other."""
