"""Made of the pipeline: upscaling, interpolation, several images in one call."""
