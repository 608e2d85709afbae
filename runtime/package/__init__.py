"""A folder of ONNX graphs: its files, its geometry, and which of its graphs are in memory."""
