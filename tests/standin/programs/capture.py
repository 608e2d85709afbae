"""Make one call of CUDA during a capture in global mode: python -m tests.standin.programs.capture CALL [THREAD]

THREAD is `own` or `other`. Prints the status of the call and of the capture's end.
"""

import ctypes
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_GLOBAL, _TO_DEVICE, _BLOCKING = 0, 1, 0


def main() -> None:
    """Read the command line, capture and print."""
    call, thread = sys.argv[1:]
    cuda, blas = ctypes.CDLL("libcudart.so.13"), ctypes.CDLL("libcublas.so.13")
    stream, memory, other, graph = (ctypes.c_void_p() for _ in range(4))
    cuda.cudaStreamCreateWithFlags(ctypes.byref(stream), _BLOCKING)
    cuda.cudaMalloc(ctypes.byref(memory), ctypes.c_size_t(64))
    host = (ctypes.c_char * 64)()
    size = ctypes.c_size_t(64)
    calls: dict[str, Callable[[], int]] = {
        "nothing": lambda: 0,
        "malloc": lambda: cuda.cudaMalloc(ctypes.byref(other), size),
        "free": lambda: cuda.cudaFree(memory),
        "memcpy": lambda: cuda.cudaMemcpy(memory, host, size, _TO_DEVICE),
        "wait for the device": lambda: cuda.cudaDeviceSynchronize(),
        "wait for the stream": lambda: cuda.cudaStreamSynchronize(stream),
        "event query": lambda: cuda.cudaEventQuery(None),
        "new handle": lambda: blas.cublasCreate_v2(ctypes.byref(other)),
        "memset on the stream": lambda: cuda.cudaMemsetAsync(memory, 0, size, stream),
        "memset on the legacy stream": lambda: cuda.cudaMemsetAsync(memory, 0, size, None),
        "second capture": lambda: cuda.cudaStreamBeginCapture(stream, _GLOBAL),
    }
    cuda.cudaStreamBeginCapture(stream, _GLOBAL)
    if thread == "other":
        with ThreadPoolExecutor(1) as pool:
            status = pool.submit(calls[call]).result()
    else:
        status = calls[call]()
    end = cuda.cudaStreamEndCapture(stream, ctypes.byref(graph))
    print(json.dumps([status, end]))


if __name__ == "__main__":
    main()
