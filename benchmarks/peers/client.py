"""Driver's side of a worker: one request at a time, stopped while other peers have their turn."""

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from triptych.runtime.errors import TriptychError

from .catalogue import Peer
from .environments import HERE, links, python_of
from .work import Setting

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class PeerError(TriptychError):
    """A request to a peer failed; the message is the peer's reason."""

    exit_status = 1


class Client:
    """A worker process. Use it in a `with`, which ends the process.

    Between requests it is stopped by SIGSTOP, so that no thread of it spins and no memory of it is touched.

    Raises:
        TriptychError: the peer's environment has not been made.
        PeerError: the process did not start.
    """

    def __init__(self, peer: Peer, setting: Setting, timeout: float) -> None:
        self.peer, self.timeout = peer, timeout
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the process
        arguments = json.dumps({"setting": asdict(setting), "options": dict(peer.options)})
        alone = {"HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1"}
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(setting.threads)), **alone}
        if peer.environment != HERE:
            environment["PYTHONPATH"] = str(links())
        self._process = subprocess.Popen(
            [python_of(peer.environment), "-m", "triptych.benchmarks.peers.worker", peer.adapter, arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )
        try:
            self._answer(timeout)
        except PeerError:
            self.close()
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request, and return the answer; see `worker`.

        Raises:
            PeerError: the answer is an error, the process ended, or it exceeded the time limit and was killed.
        """
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
            return dict(self._answer(self.timeout))
        except OSError:
            raise PeerError(self._reason()) from None
        finally:
            self._process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()

    def _answer(self, seconds: float) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready:
            self._process.kill()
            raise PeerError(f"no answer in {seconds:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(self._reason())
        answer: Mapping[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def _reason(self) -> str:
        status = self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return f"it ended with status {status}: {lines[-1] if lines else 'nothing on stderr'}"
