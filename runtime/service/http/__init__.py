"""The HTTP API: request validation, routes, responses."""
