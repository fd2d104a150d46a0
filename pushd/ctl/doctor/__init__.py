"""``pushctl doctor``: what proxies in front of pushd break for each transport, and the configuration that fixes it."""
