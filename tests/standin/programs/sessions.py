"""Sessions that a process opens, and where their nodes run."""

from collections import Counter
from typing import Any

import onnxruntime


class Sessions:
    """Records every session that is opened from here on, and ONNX Runtime records where its nodes run."""

    def __init__(self) -> None:
        self._opened: list[Any] = []
        opened, original = self._opened, onnxruntime.InferenceSession

        class Recorded(original):  # type: ignore[misc, valid-type]
            def __init__(self, path: Any, sess_options: Any = None, *arguments: Any, **keywords: Any) -> None:
                options = sess_options or onnxruntime.SessionOptions()
                options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
                super().__init__(path, options, *arguments, **keywords)
                opened.append(self)

        onnxruntime.InferenceSession = Recorded

    def placement(self) -> dict[str, dict[str, int]]:
        """Provider -> operator -> number of nodes, of all sessions together."""
        found: dict[str, Counter[str]] = {}
        for session in self._opened:
            for part in session.get_provider_graph_assignment_info():
                found.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
        return {provider: dict(sorted(counts.items())) for provider, counts in found.items()}
