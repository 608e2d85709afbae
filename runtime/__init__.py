"""Text to image on numpy and ONNX Runtime alone."""
