"""The service on Ray Serve: replicas of the API, and behind them replicas of each package.

Ray keeps them alive, as many as it should, and sends each what it can take; `build` is what its configuration names.
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
from ...ort.device import open_device
from ...package.package import open_package
from ...pipeline import TextToImage
from ..http.api import create_app
from ..http.catalog import Catalog
from ..http.models import BATCH
from ..options import Options
from .config import API, deployment_of
from .figures import RayFigures
from .queue import RayQueue
from .replica import Replica

KEY = "TRIPTYCH_API_KEY"
_REQUESTS = 1000  # that a replica of the API has open, which only wait
_CALLS = 2  # that a replica of a package has: one that it makes, and one that gathers meanwhile


class RayCatalog(Catalog[RayQueue]):
    """Packages whose replicas are Ray's; see `Catalog`.

    Args:
        options: of the service.
        figures: that the queues tell.
        replicas: Ray's handle of each, by name.
    """

    def __init__(self, options: Options, figures: RayFigures, replicas: Mapping[str, DeploymentHandle]) -> None:
        super().__init__(options.packages)
        for name, path in self.packages.items():
            described = TextToImage(open_package(path), open_device("cpu"), memory="low")
            self._queues[name] = RayQueue(name, described, replicas[name], figures, options.queue)
        self.state = "ready"


@serve.ingress()
class Api:
    """The API, which makes no pictures; arguments as of `RayCatalog`."""

    def __init__(self, options: Options, replicas: Mapping[str, DeploymentHandle]) -> None:
        self._options, self._replicas = options, replicas

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Called by Ray in the replica."""
        said, figures = self._options, RayFigures()
        catalog = RayCatalog(said, figures, self._replicas)
        return create_app(
            catalog, said.limits, figures, key=said.api_key, local=said.local, log_prompts=said.log_prompts
        )


def build(args: Mapping[str, Any]) -> Application:
    """The application, as Ray's configuration asks for it with `import_path: triptych.runtime.service.ray.serve:build`.

    Args:
        args: the values of `Options`; the key comes from the environment, as TRIPTYCH_API_KEY.

    Raises:
        ArgumentError: they are no such values, or other machines could call without a key.
        PackageError: one of the packages is none.
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
        for name, path in Catalog(options.packages).packages.items()
    }
    # it needs so little that it need not be counted, where all CPUs are for pictures
    resources = {"num_cpus": 0}
    deployed = serve.deployment(name=API, max_ongoing_requests=_REQUESTS, ray_actor_options=resources)(Api)
    return deployed.bind(options, replicas)
