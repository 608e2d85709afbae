"""The service on Ray Serve, started here with some CPUs."""

import base64
import contextlib
import io
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
from tests.support.images import picture
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError, PackageError
from triptych.runtime.image.pixels import SETTINGS_KEY, read_settings

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
    """Requests are cancelled while their images are made."""
    return exported_package


def arguments(package: Path, **others: Any) -> dict[str, Any]:
    """Of `build`, as a configuration has them."""
    limits = asdict(LIMITS) | {"steps": STEPS}
    said = {"load": {"device": "cpu"}, "limits": limits, "batch": 4, "wait": 0.3, "queue": QUEUE, "local": True}
    return {"packages": [str(package)], **said, **others}


class Cluster:
    """Ray on this machine, with Serve at a port that was free."""

    def __init__(self) -> None:
        port, of_figures = _free_port(), _free_port()
        ray.init(
            "local",
            num_cpus=4,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            _metrics_export_port=of_figures,
            _system_config={"metrics_report_interval_ms": 200},
        )
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        self.url, self._figures = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{of_figures}"

    def figure(self, name: str) -> float:
        """Of all replicas."""
        text = httpx2.get(self._figures).text
        return sum(float(value) for value in re.findall(rf"^ray_{name}\{{.*\}} (\S+)$", text, re.MULTILINE))

    def settled(self, name: str) -> float:
        """When nothing more comes of what was before."""
        time.sleep(2)
        return self.figure(name)

    def until(self, name: str, figure: float) -> None:
        """Figures come some time after what they count."""
        deadline = time.monotonic() + 20
        while self.figure(name) != figure:
            assert time.monotonic() < deadline, f"{name}: {self.figure(name)}"
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
    """With as many threads as a replica has: sums round otherwise with others."""
    return TextToImage.load(package, device="cpu", session_options={"intra_op_num_threads": 1})


def pixels_of(answer: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["b64_json"]))))


def alone(pipe: TextToImage, **said: Any) -> np.ndarray:
    width, height = map(int, said.pop("size").split("x"))
    return np.asarray(pipe(**said, width=width, height=height).images[0])


def test_pictures_are_those_of_the_package_with_their_settings(url: str, pipe: TextToImage, tmp_path: Path) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        extra: dict[str, Any] = {"seed": 7, "num_inference_steps": 2}
        made = client.images.generate(prompt="a red fox", size="64x64", n=2, extra_body=extra)
        assert made.data is not None
        for row, data in enumerate(made.data):
            wanted = alone(pipe, **BODY | {"seed": 7 + row})
            np.testing.assert_array_equal(pixels_of({"b64_json": data.b64_json}), wanted)
        file = tmp_path / "fox.png"
        file.write_bytes(base64.b64decode(made.data[0].b64_json or ""))
        wanted_settings = pipe("a red fox", width=64, height=64, **extra).images[0].info[SETTINGS_KEY]
        assert read_settings(file) == Settings.from_json(wanted_settings)
        edited = client.images.edit(image=("a.png", png(picture())), prompt="a red fox", extra_body=extra)
        assert edited.data is not None
        wanted = np.asarray(pipe("a red fox", image=picture(), **extra).images[0])
        np.testing.assert_array_equal(pixels_of({"b64_json": edited.data[0].b64_json}), wanted)
        said = extra | {"num_inference_steps": 6}
        stream = client.images.generate(
            prompt="a red fox", size="64x64", stream=True, partial_images=2, extra_body=said
        )
        *previews, last = list(stream)
        assert [event.type for event in previews] == ["image_generation.partial_image"] * 2
        np.testing.assert_array_equal(pixels_of({"b64_json": last.b64_json}), alone(pipe, **BODY | said))


def test_what_cannot_be_done_is_said_as_it_is_without_ray(url: str) -> None:
    for body, status in (
        (BODY | {"size": "65x64"}, 400),
        (BODY | {"model": "other"}, 404),
        (BODY | {"n": 4}, 400),
        (BODY | {"prompt": f"(fox:{10**39})"}, 400),
    ):
        answer = httpx2.post(url + GENERATIONS, json=body, timeout=PATIENCE)
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, "invalid_request_error")
    assert httpx2.post(url + EDITS, data={"prompt": "a"}, files={"image": ("a", b"no picture")}).status_code == 400
    assert httpx2.get(url + "/v1/models", headers={"host": "example.org"}).status_code == 403
    assert httpx2.get(url + "/readyz").json() == {"status": "ready"}
    assert httpx2.get(url + "/metrics").status_code == 404, "figures are at Ray's own port"


def test_ray_batches_what_can_share_a_call(cluster: Cluster, url: str, pipe: TextToImage) -> None:
    """Three together, and one of another kind that came with them."""
    bodies = [BODY | {"seed": seed} for seed in range(3)] + [BODY | {"num_inference_steps": 3}]
    pictures, calls = (cluster.settled(name) for name in ("triptych_pictures_total", "triptych_batch_size_count"))
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda body: httpx2.post(url + GENERATIONS, json=body, timeout=PATIENCE), bodies))
    for body, answer in zip(bodies, answers, strict=True):
        np.testing.assert_array_equal(pixels_of(answer.json()["data"][0]), alone(pipe, **body))
    cluster.until("triptych_pictures_total", pictures + 4)
    cluster.until("triptych_batch_size_count", calls + 2)


def test_the_queue_is_bounded(url: str) -> None:
    """Two calls of four are open at most; then as many wait as may, and the rest is told so at once."""
    statuses: list[int] = []

    def ask(seed: int) -> None:
        body = LONG | {"n": 3, "seed": seed, "num_inference_steps": 20}
        answer = httpx2.post(url + GENERATIONS, json=body, timeout=PATIENCE)
        statuses.append(answer.status_code)
        if answer.status_code == 429:
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.json()["error"]["code"] == "queue_full"

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200, 429}
    assert httpx2.post(url + GENERATIONS, json=BODY, timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_stops_costing(cluster: Cluster, url: str, stream: bool) -> None:
    made, cancelled = (cluster.settled(name) for name in ("triptych_pictures_total", "triptych_cancelled_total"))
    body = LONG | {"n": 3, "stream": stream, "num_inference_steps": STEPS}
    with pytest.raises(httpx2.ReadTimeout), httpx2.stream("POST", url + GENERATIONS, json=body, timeout=2) as answer:
        answer.read()
    cluster.until("triptych_cancelled_total", cancelled + 3)
    httpx2.post(url + GENERATIONS, json=BODY, timeout=PATIENCE).raise_for_status()
    cluster.until("triptych_pictures_total", made + 1)


def test_a_key_is_asked_for(url: str, package: Path) -> None:
    """Only the API's replica is another then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, "geheim")
        serve.run(build(arguments(package, local=False)), name="triptych")
    try:
        for key, status in (("geheim", 200), ("other", 401)):
            answer = httpx2.get(f"{url}/v1/models", headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == status
    finally:
        serve.run(build(arguments(package)), name="triptych")


def test_what_cannot_be_built_is_one_line(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(ArgumentError, match="open to other machines"):
        build(arguments(package, local=False))
    build(arguments(package, local=False, without_api_key=True))
    with pytest.raises(ArgumentError, match=r"args: queue: Input should be a valid integer"):
        build(arguments(package, queue="many"))
    with pytest.raises(ArgumentError, match=r"args: queues: Unexpected keyword argument"):
        build(arguments(package, queues=1))
    with pytest.raises(PackageError, match="is no package"):
        build(arguments(tmp_path))


def test_the_configuration_is_rays(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ray.serve.schema import ServeDeploySchema

    said = ("--device", "cpu", "--cpus-per-replica", 2, "--min-replicas", 1, "--max-replicas", 3, "--port", 9000)
    status, out, _ = run("ray-config", package, *said, capsys=capsys)
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


def test_wrong_use_of_the_command_is_one_line(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is no package" in refused("ray-config", tmp_path, capsys=capsys)
    assert "give the CPUs of each replica" in refused("ray-config", package, "--device", "cpu", capsys=capsys)
    said = ("--min-replicas", 2, "--max-replicas", 1)
    assert "--max-replicas 1; allowed" in refused("ray-config", package, *said, capsys=capsys)
    assert "pip install 'triptych[ray]'" in refused_without("yaml", "ray-config", str(package))


def replicas(process: psutil.Process, deployment: str) -> list[psutil.Process]:
    """The processes of a deployment, below the one that started Ray."""
    found = []
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # nor is a zombie one
            if f"ServeReplica:triptych:{deployment}" in "".join(child.cmdline()):
                found.append(child)
    return found


@pytest.fixture
def started(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[str, psutil.Process]]:
    """`triptych ray-config` and `serve run`, as in the documentation: two replicas of the package."""
    port = _free_port()
    said = ("--device", "cpu", "--cpus-per-replica", 1, "--min-replicas", 2, "--max-replicas", 2, "--port", port)
    status, config, _ = run("ray-config", package, *said, capsys=capsys)
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
def test_replicas_that_are_killed_lose_nothing(
    started: tuple[str, psutil.Process], package: Path, pipe: TextToImage
) -> None:
    """Three of the package's, of which clients notice nothing; then the API's, where OpenAI's client asks again."""
    url, process = started
    bodies = [BODY | {"seed": seed, "num_inference_steps": 10} for seed in range(80)]

    def ask(body: dict[str, Any]) -> list[Any]:
        answer = httpx2.post(url + GENERATIONS, json=body, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])

    def ask_again(body: dict[str, Any]) -> list[Any]:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=PATIENCE) as client:
            extra = {name: body[name] for name in ("seed", "num_inference_steps")}
            made = client.images.generate(prompt=body["prompt"], size=body["size"], extra_body=extra)
            return list(made.model_dump()["data"])

    for deployment, kills, asking in ((f"model-{package.name}", (5, 20, 35), ask), ("api", (20,), ask_again)):
        with ThreadPoolExecutor(12) as threads:
            answers = [threads.submit(asking, body) for body in bodies]
            for done in kills:
                while sum(answer.done() for answer in answers) < done:
                    time.sleep(0.02)
                replicas(process, deployment)[0].kill()
        for body, answer in zip(bodies, answers, strict=True):
            (data,) = answer.result()
            assert data["seed"] == body["seed"]
            np.testing.assert_array_equal(pixels_of(data), alone(pipe, **body))
