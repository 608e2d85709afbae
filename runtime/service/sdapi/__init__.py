"""The HTTP API of Stable Diffusion web UI (A1111), for its plug-ins and clients."""
