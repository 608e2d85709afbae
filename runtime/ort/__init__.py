"""The only home of ONNX Runtime besides the denoising loop: devices, sessions, memory, small graphs."""
