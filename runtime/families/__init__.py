"""Model families: data, and small functions where data is not enough."""
