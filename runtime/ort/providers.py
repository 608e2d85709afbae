"""Names of execution providers, for people and of ONNX Runtime."""

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
PROVIDERS = {"cpu": CPU, "cuda": CUDA, "openvino": OPENVINO, "tensorrt": TENSORRT}
EXTRA_OF = {CPU: "cpu", CUDA: "cuda", OPENVINO: "openvino", TENSORRT: "cuda"}
"""Provider -> the extra of this package that installs it."""
