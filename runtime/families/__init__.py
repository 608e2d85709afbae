"""Model families: data, and small functions where data cannot say it."""
