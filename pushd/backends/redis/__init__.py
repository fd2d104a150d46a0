"""The backend in Redis or Valkey, which many nodes share. Only this package uses txredisapi.

`backend` is what the hub calls. `publisher` appends messages to the log, by scripts (`lua/`). `feed` receives them from
pub/sub, in order, and reads what pub/sub has lost; `subscriptions` are the topics that it receives. `reader` answers
cursors, `audiences` and `kicks` ask the other nodes, `heartbeat` is the health, `leases` drops what nodes owned that
are gone. `command_runner` calls scripts over the command connection, `link` reconnects, `locator` finds the master,
`address` parses the URL.
"""
