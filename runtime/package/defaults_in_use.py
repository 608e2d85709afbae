"""The line that says which defaults a command uses, and whose they are."""

from ..request import Request
from .model import Model


def defaults_in_use(request: Request, model: Model) -> str | None:
    """Values of the package, or of its family, for what a request leaves out; None where it leaves out nothing."""
    stated, (height, width) = model.defaults, model.size
    values = {
        "num_inference_steps": f"{model.num_inference_steps} steps",
        "guidance_scale": f"guidance {model.guidance_scale:g}",
        "scheduler": f"scheduler {model.scheduler}",
        "size": f"{width}x{height}",
        "negative_prompt": f"negative prompt {stated.negative_prompt!r}",
    }
    unused = {name for name in values if getattr(request, name, None) is not None}
    if request.timesteps is not None or request.sigmas is not None:
        unused.add("num_inference_steps")
    if any(each is not None for each in (request.image, request.height, request.width)):
        unused.add("size")
    if stated.negative_prompt is None:
        unused.add("negative_prompt")
    of_family = [name for name in ("num_inference_steps", "guidance_scale") if getattr(stated, name) is None]
    groups = {
        "package": [text for name, text in values.items() if name not in (*unused, *of_family)],
        f"family {model.family.name}": [values[name] for name in of_family if name not in unused],
    }
    parts = [f"of the {owner}: {', '.join(texts)}" for owner, texts in groups.items() if texts]
    return f"defaults {'; '.join(parts)}" if parts else None
