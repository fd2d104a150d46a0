"""Sources: what the daemon publishes by itself. A source is one more caller of the hub; none is configured by default.

Each kind has a module with a runner class whose coroutine `run` does all the work. `supervision.SupervisedSource` runs
it as a service and restarts it after a failure; it publishes through `publisher.SourcePublisher`. Runners do not depend
on the configuration: they are constructed from plain values.
"""
