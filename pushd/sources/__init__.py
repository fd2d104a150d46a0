"""What publishes on its own. A source is one more caller of the hub, configured and off by default.

Each kind has a file with a class whose `run` is its whole life; `life.Life` runs it as a service and begins anew
where it breaks, and `publisher.Publisher` is its one way out. A source does not know the settings: it is handed
plain values.
"""
