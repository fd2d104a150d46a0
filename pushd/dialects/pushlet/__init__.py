"""The protocol of Pushlet."""
