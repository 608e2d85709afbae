"""Ray Serve configuration of the service, as YAML to review, edit and deploy."""

from dataclasses import asdict
from typing import Any

import yaml

from ..http.catalog import Catalog
from ..options import Options
from ..queue.batcher import BATCH

API = "api"
"""Name of the deployment that serves HTTP."""


def deployment_of(model: str) -> str:
    """Name of the deployment that runs a package."""
    return f"model-{model}"


def config_of(options: Options, *, host: str, port: int, replicas: tuple[int, int], cpus: int | None) -> str:
    """YAML for `serve run` and `serve deploy`.

    Args:
        options: of the service. The API key is left out; each machine reads it from its environment.
        host, port: address on which each machine of the cluster listens.
        replicas: minimum and maximum for each package; Ray scales between them with the load.
        cpus: of each replica; None: one GPU each.

    Raises:
        PackageError, ArgumentError: see `Catalog`.
    """
    arguments = asdict(options)
    del arguments["api_key"]
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
                "args": {**arguments, "packages": [str(path.absolute()) for path in options.packages]},
                "deployments": [
                    {"name": API, "num_replicas": 1},
                    *(
                        {
                            "name": deployment_of(name),
                            "ray_actor_options": dict(resources),
                            "autoscaling_config": dict(scaling),
                        }
                        for name in Catalog(options.packages, options.queue).packages
                    ),
                ],
            }
        ],
    }
    text: str = yaml.safe_dump(config, sort_keys=False)
    return text
