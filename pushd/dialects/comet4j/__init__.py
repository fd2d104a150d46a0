"""The protocol of comet4j."""
