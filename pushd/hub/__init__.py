"""The facade of the core: publish, subscribe, replay and queries, and the commands of two-way peers."""
