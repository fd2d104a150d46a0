"""``pushctl doctor``: what the proxies on the way to pushd do to each technique, and the lines that mend it."""
