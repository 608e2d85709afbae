"""Recorded answers of the Python interface, the command line, batches and the HTTP service, on tiny packages."""
