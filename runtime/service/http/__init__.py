"""The HTTP API: requests checked, answers delivered."""
