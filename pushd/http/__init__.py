"""The HTTP server below the resources: connections, requests, origins, limits, errors and the access log."""
