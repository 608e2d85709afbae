"""Align Your Steps: grids optimised for a model, ten steps long (Sabour, Fidler and Kreis 2024, arXiv 2404.14507).

The numbers are the authors', as diffusers has them in AysSchedules.
"""

from ...errors import SamplerError, nearest, shown

TIMESTEPS: dict[str, tuple[float, ...]] = {
    "ays_sd15": (999, 850, 736, 645, 545, 455, 343, 233, 124, 24),
    "ays_sdxl": (999, 845, 730, 587, 443, 310, 193, 116, 53, 13),
}
# sigma / alpha, the level that the run ends at included
SIGMAS: dict[str, tuple[float, ...]] = {
    "ays_sd15": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.0),
    "ays_sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.38, 0.234, 0.113, 0.0),
    "ays_svd": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.0),
}


def by_name(kind: str, name: str, ends: bool) -> tuple[float, ...]:
    """The grid of a name.

    Args:
        kind: timesteps or sigmas.
        name: ays_sd15, ays_sdxl or, for sigmas, ays_svd.
        ends: sigmas include the level that the run ends at.

    Raises:
        SamplerError: no such grid.
    """
    grids = TIMESTEPS if kind == "timesteps" else SIGMAS
    if name not in grids:
        raise SamplerError(f"{kind}={shown(name)} is not a grid; {nearest(name, grids)}")
    return grids[name] if kind == "timesteps" or ends else grids[name][:-1]
