"""The store in Redis or Valkey, which joins many nodes to one. The only room that knows txredisapi.

`backend` is what the rest of pushd sees. `publishing` puts messages into the log, by scripts (`lua/`); `feed` takes
them from pub/sub, in order, and mends what pub/sub loses; `listening` says what of; `reading` answers cursors;
`audiences` asks the other nodes; `pulse` is the health. `commands` calls scripts over the one connection for commands,
`link` keeps connections, `places` finds the master, `address` reads a URL.
"""
