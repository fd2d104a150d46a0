"""Authentication: a credential becomes a grant."""
