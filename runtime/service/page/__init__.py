"""Web page of the service: static files, which use the documented endpoints alone."""
