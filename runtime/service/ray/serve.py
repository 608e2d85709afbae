"""The service on Ray Serve: replicas of the API, and replicas of each package that generate the images.

Ray restarts and scales the replicas and routes requests to them. Its configuration imports `build`.
"""

import os
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from ...errors import ArgumentError
from ..http.api import create_app
from ..http.catalog import Catalog
from ..options import Options
from ..queue.batcher import BATCH
from .config import API, deployment_of
from .figures import RayFigures
from .queue import RayQueue
from .replica import Replica

KEY = "TRIPTYCH_API_KEY"
_REQUESTS = 1000  # open at a replica of the API, where they only wait
_CALLS = 2  # open at a replica of a package: one that runs, and one whose batch is collected meanwhile


class RayCatalog(Catalog[RayQueue]):
    """Catalog of packages that run as deployments of Ray; see `Catalog`.

    Args:
        options: of the service.
        figures: the metrics backend of the queues.
        replicas: Ray's handle of each package, by name.
    """

    def __init__(self, options: Options, figures: RayFigures, replicas: Mapping[str, DeploymentHandle]) -> None:
        super().__init__(options.packages, options.queue)
        for name, pipe in self.planners.items():
            self._queues[name] = RayQueue(name, pipe, replicas[name], figures, options.queue)
        self.state = "ready"


@serve.ingress()
class Api:
    """The HTTP API, without pipelines; arguments as of `RayCatalog`."""

    def __init__(self, options: Options, replicas: Mapping[str, DeploymentHandle]) -> None:
        self._options, self._replicas = options, replicas

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """ASGI application of a replica; Ray calls this method."""
        options, figures = self._options, RayFigures()
        catalog = RayCatalog(options, figures, self._replicas)
        return create_app(
            catalog, options.limits, figures, key=options.api_key, local=options.local, log_prompts=options.log_prompts
        )


def build(args: Mapping[str, Any]) -> Application:
    """Application for Ray's configuration: `import_path: triptych.runtime.service.ray.serve:build`.

    Args:
        args: values of `Options`; the default of `api_key` is the environment variable TRIPTYCH_API_KEY.

    Raises:
        ArgumentError: a value is invalid, or the service would be open to other machines without a key.
        PackageError: a folder is not a package.
    """
    try:
        options = TypeAdapter(Options).validate_python({"api_key": os.environ.get(KEY), **args})
    except ValidationError as error:
        first = error.errors()[0]
        raise ArgumentError(f"args: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    options.check_access()
    calls = _CALLS * (options.batch or BATCH)
    replicas = {
        name: serve.deployment(name=deployment_of(name), max_ongoing_requests=calls)(Replica).bind(
            path, options.load, batch=options.batch, wait=options.wait, log_prompts=options.log_prompts
        )
        for name, path in Catalog(options.packages, options.queue).packages.items()
    }
    # the API needs little CPU time; counting it would take a whole CPU from image generation
    resources = {"num_cpus": 0}
    deployed = serve.deployment(name=API, max_ongoing_requests=_REQUESTS, ray_actor_options=resources)(Api)
    return deployed.bind(options, replicas)
