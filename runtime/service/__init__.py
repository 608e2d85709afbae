"""Image generation as a service: HTTP API, web page, queue, Ray Serve. Only the commands that need it import it."""
