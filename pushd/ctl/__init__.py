"""``pushctl``, the command line of pushd. It imports nothing of the daemon: it is a stranger at its doors."""
