"""The service as Ray Serve's configuration has it, to be looked at, changed and deployed."""

from dataclasses import asdict
from typing import Any

import yaml

from ..http.catalog import Catalog
from ..http.models import BATCH
from ..options import Options

API = "api"
"""The deployment that answers HTTP."""


def deployment_of(model: str) -> str:
    """The deployment whose replicas hold a package."""
    return f"model-{model}"


def config_of(options: Options, *, host: str, port: int, replicas: tuple[int, int], cpus: int | None) -> str:
    """YAML for `serve run` and `serve deploy`.

    Args:
        options: of the service; a key is left out, the machines have it in their environment.
        host, port: where each machine of the cluster listens.
        replicas: of each package, at least and at most; Ray has as many as there is work for.
        cpus: for each of them; None is a GPU for each.

    Raises:
        PackageError, ArgumentError: see `Catalog`.
    """
    said = asdict(options)
    del said["api_key"]
    resources = {"num_gpus": 1} if cpus is None else {"num_cpus": cpus}
    scaling = {
        "min_replicas": replicas[0],
        "max_replicas": replicas[1],
        "target_ongoing_requests": options.batch or (1 if options.load.get("device") == "cpu" else BATCH),
    }
    config: dict[str, Any] = {
        "http_options": {"host": host, "port": port},
        "applications": [
            {
                "name": "triptych",
                "route_prefix": "/",
                "import_path": "triptych.runtime.service.ray.serve:build",
                "args": {**said, "packages": [str(path.absolute()) for path in options.packages]},
                "deployments": [
                    {"name": API, "num_replicas": 1},
                    *(
                        {
                            "name": deployment_of(name),
                            "ray_actor_options": dict(resources),
                            "autoscaling_config": dict(scaling),
                        }
                        for name in Catalog(options.packages).packages
                    ),
                ],
            }
        ],
    }
    text: str = yaml.safe_dump(config, sort_keys=False)
    return text
