"""What waits for a GPU: see README.md beside this."""
