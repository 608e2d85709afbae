"""The only home of ONNX Runtime, beside the denoising loop: devices, sessions, memory, small graphs."""
