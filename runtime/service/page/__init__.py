"""The page of `triptych serve --ui`."""
