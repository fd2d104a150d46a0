"""The audit log: who was refused, who has renewed a token, and what operators have done."""
