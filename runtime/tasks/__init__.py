"""Tasks on top of the pipeline: upscaling, interpolation, and batching."""
