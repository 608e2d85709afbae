"""Tests of the service on Ray Serve, on a local cluster with four CPUs."""

import base64
import contextlib
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import psutil
import pytest
import yaml
from PIL import Image

from tests.support.command_line import INTERRUPTIBLE, refused, run
from tests.support.images import example_image
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError, PackageError
from triptych.runtime.image.pixels import SETTINGS_KEY, read_settings
from triptych.runtime.request import Request
from triptych.runtime.tasks.upscaling import upscaled

from .serving import BODY, EDITS, GENERATIONS, LIMITS, LONG, png, refused_without

pytest.importorskip("ray.serve", reason="a service on Ray needs triptych[ray]")

import ray
from ray import serve

from triptych.runtime.image.settings import Settings
from triptych.runtime.service.ray.serve import KEY, build

pytestmark = pytest.mark.usefixtures("alone_with_ray")

PATIENCE = 180.0  # seconds for Ray to start, or to start a replica again
QUEUE = 6
STEPS = 900  # at most


@pytest.fixture(scope="session")
def package(exported_package: Path) -> Path:
    """A package whose images take long enough to cancel their requests."""
    return exported_package


def arguments(package: Path, **others: Any) -> dict[str, Any]:
    """Arguments of `build`, as in a configuration."""
    limits = asdict(LIMITS) | {"steps": STEPS}
    options = {"load": {"device": "cpu"}, "limits": limits, "batch": 4, "wait": 0.3, "queue": QUEUE, "local": True}
    return {"packages": [str(package)], **options, **others}


class Cluster:
    """Ray on this machine, with Serve on a free port."""

    def __init__(self) -> None:
        port, metrics_port = _free_port(), _free_port()
        ray.init(
            "local",
            num_cpus=4,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            _metrics_export_port=metrics_port,
            _system_config={"metrics_report_interval_ms": 200},
        )
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        self.url, self._metrics = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}"

    def metric(self, name: str) -> float:
        """Sum of a metric over all replicas."""
        text = httpx2.get(self._metrics).text
        return sum(float(value) for value in re.findall(rf"^ray_{name}\{{.*\}} (\S+)$", text, re.MULTILINE))

    def settled(self, name: str) -> float:
        """Value of a metric after earlier requests are counted."""
        time.sleep(2)
        return self.metric(name)

    def until(self, name: str, value: float) -> None:
        """Wait for a value of a metric; Ray exports metrics with a delay."""
        deadline = time.monotonic() + 20
        while self.metric(name) != value:
            assert time.monotonic() < deadline, f"{name}: {self.metric(name)}"
            time.sleep(0.1)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def cluster(alone_with_ray: None) -> Iterator[Cluster]:
    yield Cluster()
    serve.shutdown()
    ray.shutdown()


@pytest.fixture(scope="module")
def url(cluster: Cluster, package: Path) -> str:
    serve.run(build(arguments(package)), name="triptych")
    return cluster.url


@pytest.fixture(scope="module")
def pipe(package: Path) -> TextToImage:
    """Pipeline with one thread, as a replica has; other numbers of threads round sums differently."""
    return TextToImage.load(package, device="cpu", session_options={"intra_op_num_threads": 1})


def pixels_of(answer: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["b64_json"]))))


def expected_pixels(pipe: TextToImage, **arguments: Any) -> np.ndarray:
    width, height = map(int, arguments.pop("size").split("x"))
    return np.asarray(pipe(**arguments, width=width, height=height).images[0])


def test_images_and_settings_equal_those_of_the_pipeline(url: str, pipe: TextToImage, tmp_path: Path) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        extra: dict[str, Any] = {"seed": 7, "num_inference_steps": 2}
        generated = client.images.generate(prompt="a red fox", size="64x64", n=2, extra_body=extra)
        assert generated.data is not None
        for row, data in enumerate(generated.data):
            expected = expected_pixels(pipe, **BODY | {"seed": 7 + row})
            np.testing.assert_array_equal(pixels_of({"b64_json": data.b64_json}), expected)
        file = tmp_path / "fox.png"
        file.write_bytes(base64.b64decode(generated.data[0].b64_json or ""))
        expected_settings = pipe("a red fox", width=64, height=64, **extra).images[0].info[SETTINGS_KEY]
        assert read_settings(file) == Settings.from_json(expected_settings)
        edited = client.images.edit(image=("a.png", png(example_image())), prompt="a red fox", extra_body=extra)
        assert edited.data is not None
        expected = np.asarray(pipe("a red fox", image=example_image(), **extra).images[0])
        np.testing.assert_array_equal(pixels_of({"b64_json": edited.data[0].b64_json}), expected)
        longer = extra | {"num_inference_steps": 6}
        stream = client.images.generate(
            prompt="a red fox", size="64x64", stream=True, partial_images=2, extra_body=longer
        )
        *previews, last = list(stream)
        assert [event.type for event in previews] == ["image_generation.partial_image"] * 2
        np.testing.assert_array_equal(pixels_of({"b64_json": last.b64_json}), expected_pixels(pipe, **BODY | longer))


def test_a_stream_has_the_progress_of_both_passes(url: str, pipe: TextToImage) -> None:
    """Ray does not say the place in its queue."""
    arguments: dict[str, Any] = {"num_inference_steps": 20, "scheduler": "ddim", "strength": 0.5}
    body = BODY | arguments | {"upscale": 2.0, "stream": True, "progress": True}
    answer = httpx2.post(url + GENERATIONS, json=body, timeout=PATIENCE)
    *progress, last = (json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: "))
    assert {event["type"] for event in progress} == {"image_generation.progress"}
    assert {event["steps"] for event in progress} == {20 + 10}
    assert {event["position"] for event in progress} == {None}
    assert "running" in {event["state"] for event in progress}
    steps = [event["step"] for event in progress]
    assert steps == sorted(steps)
    expected = upscaled(pipe, Request("a red fox", seed=7, height=64, width=64, **arguments), 2.0)
    np.testing.assert_array_equal(pixels_of(last), np.asarray(expected.images[0]))


def test_errors_are_those_of_the_service_without_ray(url: str) -> None:
    for body, status in (
        (BODY | {"size": "65x64"}, 400),
        (BODY | {"model": "other"}, 404),
        (BODY | {"n": 4}, 400),
        (BODY | {"prompt": f"(fox:{10**39})"}, 400),
    ):
        answer = httpx2.post(url + GENERATIONS, json=body, timeout=PATIENCE)
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, "invalid_request_error")
    assert httpx2.post(url + EDITS, data={"prompt": "a"}, files={"image": ("a", b"not an image")}).status_code == 400
    assert httpx2.get(url + "/v1/models", headers={"host": "example.org"}).status_code == 403
    assert httpx2.get(url + "/readyz").json() == {"status": "ready"}
    assert httpx2.get(url + "/metrics").status_code == 404, "Ray exports the metrics on another port"


def test_ray_batches_requests_with_equal_keys(cluster: Cluster, url: str, pipe: TextToImage) -> None:
    """Three requests share a call; a request with another number of steps runs alone."""
    bodies = [BODY | {"seed": seed} for seed in range(3)] + [BODY | {"num_inference_steps": 3}]
    images, calls = (cluster.settled(name) for name in ("triptych_pictures_total", "triptych_batch_size_count"))
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda body: httpx2.post(url + GENERATIONS, json=body, timeout=PATIENCE), bodies))
    for body, answer in zip(bodies, answers, strict=True):
        np.testing.assert_array_equal(pixels_of(answer.json()["data"][0]), expected_pixels(pipe, **body))
    cluster.until("triptych_pictures_total", images + 4)
    cluster.until("triptych_batch_size_count", calls + 2)


def test_the_queue_is_bounded(url: str) -> None:
    """At most two calls of four images are open, and QUEUE images wait; other requests are rejected at once."""
    statuses: list[int] = []

    def post(seed: int) -> None:
        body = LONG | {"n": 3, "seed": seed, "num_inference_steps": 20}
        answer = httpx2.post(url + GENERATIONS, json=body, timeout=PATIENCE)
        statuses.append(answer.status_code)
        if answer.status_code == 429:
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.json()["error"]["code"] == "queue_full"

    threads = [threading.Thread(target=post, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200, 429}
    assert httpx2.post(url + GENERATIONS, json=BODY, timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_images_of_a_disconnected_client_are_cancelled(cluster: Cluster, url: str, stream: bool) -> None:
    images, cancelled = (cluster.settled(name) for name in ("triptych_pictures_total", "triptych_cancelled_total"))
    body = LONG | {"n": 3, "stream": stream, "num_inference_steps": STEPS}
    with pytest.raises(httpx2.ReadTimeout), httpx2.stream("POST", url + GENERATIONS, json=body, timeout=2) as answer:
        answer.read()
    cluster.until("triptych_cancelled_total", cancelled + 3)
    httpx2.post(url + GENERATIONS, json=BODY, timeout=PATIENCE).raise_for_status()
    cluster.until("triptych_pictures_total", images + 1)


def test_a_key_is_required(url: str, package: Path) -> None:
    """A new key restarts only the replica of the API."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, "geheim")
        serve.run(build(arguments(package, local=False)), name="triptych")
    try:
        for key, status in (("geheim", 200), ("other", 401)):
            answer = httpx2.get(f"{url}/v1/models", headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == status
    finally:
        serve.run(build(arguments(package)), name="triptych")


def test_an_invalid_configuration_is_an_error_of_one_line(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(ArgumentError, match="open to other machines"):
        build(arguments(package, local=False))
    build(arguments(package, local=False, without_api_key=True))
    with pytest.raises(ArgumentError, match=r"args: queue: Input should be a valid integer"):
        build(arguments(package, queue="many"))
    with pytest.raises(ArgumentError, match=r"args: queues: Unexpected keyword argument"):
        build(arguments(package, queues=1))
    with pytest.raises(PackageError, match="is not a package"):
        build(arguments(tmp_path))


def test_the_configuration_is_valid_for_ray(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ray.serve.schema import ServeDeploySchema

    options = ("--device", "cpu", "--cpus-per-replica", 2, "--min-replicas", 1, "--max-replicas", 3, "--port", 9000)
    status, out, _ = run("ray-config", package, *options, capsys=capsys)
    assert status == 0
    config = ServeDeploySchema(**yaml.safe_load(out))
    (application,) = config.applications
    assert (config.http_options.host, config.http_options.port) == ("127.0.0.1", 9000)
    assert application.import_path == f"{build.__module__}:{build.__name__}"
    assert application.args["local"] is True
    assert "api_key" not in application.args
    build(application.args)
    names = {each.name: each for each in application.deployments}
    assert set(names) == {"api", f"model-{package.name}"}
    of_package = names[f"model-{package.name}"]
    assert of_package.ray_actor_options.num_cpus == 2
    assert isinstance(of_package.autoscaling_config, dict)
    assert of_package.autoscaling_config["max_replicas"] == 3


def test_wrong_usage_of_the_command_is_an_error_of_one_line(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is not a package" in refused("ray-config", tmp_path, capsys=capsys)
    assert "give the CPUs of each replica" in refused("ray-config", package, "--device", "cpu", capsys=capsys)
    options = ("--min-replicas", 2, "--max-replicas", 1)
    assert "--max-replicas 1; allowed" in refused("ray-config", package, *options, capsys=capsys)
    assert "pip install 'triptych[ray]'" in refused_without("yaml", "ray-config", str(package))


def replicas(process: psutil.Process, deployment: str) -> list[psutil.Process]:
    """Processes of a deployment, below the process that started Ray."""
    found = []
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # also raised for a zombie
            if f"ServeReplica:triptych:{deployment}" in "".join(child.cmdline()):
                found.append(child)
    return found


@pytest.fixture
def started(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[str, psutil.Process]]:
    """Two replicas of the package, started with `triptych ray-config` and `serve run` as in the documentation."""
    port = _free_port()
    options = ("--device", "cpu", "--cpus-per-replica", 1, "--min-replicas", 2, "--max-replicas", 2, "--port", port)
    status, config, _ = run("ray-config", package, *options, capsys=capsys)
    assert status == 0
    (tmp_path / "triptych.yaml").write_text(config)
    command = [sys.executable, "-c", INTERRUPTIBLE + "from ray.serve.scripts import cli; cli()", "run", "triptych.yaml"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log) as running,
    ):
        process, url = psutil.Process(running.pid), f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + PATIENCE
        try:
            while len(replicas(process, f"model-{package.name}")) < 2 or _status(f"{url}/readyz") != 200:
                assert running.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.2)
            yield url, process
        finally:
            running.send_signal(signal.SIGINT)


def _status(url: str) -> int:
    try:
        return httpx2.get(url).status_code
    except httpx2.TransportError:
        return 0


@pytest.mark.slow
def test_killed_replicas_lose_no_image(started: tuple[str, psutil.Process], package: Path, pipe: TextToImage) -> None:
    """Kill three replicas of the package, unnoticed by clients; then one of the API, where OpenAI's client retries."""
    url, process = started
    bodies = [BODY | {"seed": seed, "num_inference_steps": 10} for seed in range(80)]

    def post(body: dict[str, Any]) -> list[Any]:
        answer = httpx2.post(url + GENERATIONS, json=body, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])

    def post_with_retries(body: dict[str, Any]) -> list[Any]:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=PATIENCE) as client:
            extra = {name: body[name] for name in ("seed", "num_inference_steps")}
            generated = client.images.generate(prompt=body["prompt"], size=body["size"], extra_body=extra)
            return list(generated.model_dump()["data"])

    for deployment, kills, send in ((f"model-{package.name}", (5, 20, 35), post), ("api", (20,), post_with_retries)):
        with ThreadPoolExecutor(12) as threads:
            answers = [threads.submit(send, body) for body in bodies]
            for done in kills:
                while sum(answer.done() for answer in answers) < done:
                    time.sleep(0.02)
                replicas(process, deployment)[0].kill()
        for body, answer in zip(bodies, answers, strict=True):
            (data,) = answer.result()
            assert data["seed"] == body["seed"]
            np.testing.assert_array_equal(pixels_of(data), expected_pixels(pipe, **body))
