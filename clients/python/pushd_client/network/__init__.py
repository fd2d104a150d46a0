"""The connections of the three clients: they implement `core.interface`."""
