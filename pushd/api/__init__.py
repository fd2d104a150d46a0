"""Resources that are not transports: publish, channels, history, connections, health, metrics and pages."""
