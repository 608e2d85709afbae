"""Pictures for many: over HTTP, and by the thousand. Each command imports what it needs, and nothing else does."""
