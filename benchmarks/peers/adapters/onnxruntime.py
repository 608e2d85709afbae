"""ONNX Runtime with default options on the plain export, with both halves of guidance in one call."""

import onnxruntime as ort

from ..work import Setting, Size
from .loop import Feeds, Network, PlainLoop


class PlainOnnxRuntime(PlainLoop):
    """One session a graph."""

    def open(self, component: str, size: Size) -> Network:
        """See `PlainLoop`."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.setting.threads
        path = str(self.package.graph(component))
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        output = session.get_outputs()[0].name

        def run(inputs: Feeds) -> object:
            return session.run([output], dict(inputs))[0]

        return run  # type: ignore[return-value]


def open_peer(setting: Setting) -> PlainOnnxRuntime:
    """See `Adapter`."""
    return PlainOnnxRuntime(setting)
