"""Images from several threads: at once, equal to those made alone; one thread after another, without more memory.

python -m triptych.benchmarks.gpu.threads

With the demo model, and with the checkpoint's package if it is there. Latents may differ from those made alone by
MARGIN times what two runs alone differ by, see `repeat`.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

from triptych.runtime import TextToImage
from triptych.runtime.pipeline import Output

from . import demo, graphs, kit
from .repeat import Draw, drawing, run_to_run, spread

AT_ONCE = (2, 3)
AFTER_EACH_OTHER = 4
MARGIN = 2.0
SECONDS = 10.0
"""Seconds that the figures of a package take at the published size."""
MOST_GROWTH = 32 * 2**20
"""Bytes by which the memory in use on the device may grow from the second thread to the last."""


def at_once(draw: Draw, count: int, largest: float) -> dict[str, Any]:
    """The worst `spread` of an image made in parallel with others against the same made alone.

    With an error if latents differ by more than `largest`.
    """
    alone = [draw(seed) for seed in range(count)]
    ready = Barrier(count)

    def in_parallel(seed: int) -> Output:
        ready.wait()
        return draw(seed)

    with ThreadPoolExecutor(count) as pool:
        together = list(pool.map(in_parallel, range(count)))
    found = [spread(pair) for pair in zip(alone, together, strict=True)]
    worst = max(found, key=lambda each: float(each["largest"]))
    if worst["largest"] > largest:
        worst["error"] = f"latents differ from those made alone by more than {largest:.2g}"
    return worst


def after_each_other(draw: Draw) -> dict[str, Any]:
    """Bytes in use on the device after an image from each of several threads, with an error if they grow.

    None without a GPU.
    """
    used = []
    for seed in range(AFTER_EACH_OTHER):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(draw, seed).result()
        used.append(graphs.used_bytes())
    known = [each for each in used if each is not None]
    grown = bool(known) and known[-1] - known[1] > MOST_GROWTH
    return {"used": used} | ({"error": "memory grows from thread to thread"} if grown else {})


def measure(results: kit.Results, name: str, path: Path, steps: int) -> str:
    """Add all figures of one package."""
    pipe = TextToImage.load(path, device=kit.settings().device)
    draw = drawing(pipe, kit.PROMPT, steps, demo.GUIDANCE)
    alone = results.attempt(f"{name}, run to run", run_to_run, draw)
    largest = MARGIN * max(each["largest"] for each in alone.values()) if alone else 0.0
    for count in AT_ONCE:
        results.attempt(f"{name}, {count} threads at once", at_once, draw, count, largest)
    results.attempt(f"{name}, {AFTER_EACH_OTHER} threads after each other", after_each_other, draw)
    return "done"


def main() -> None:
    """Measure, print and write."""
    results, here = kit.Results("threads"), kit.settings()
    plan = [("demo", demo.package("fp16"), demo.STEPS), (here.model, kit.best_package(), here.steps[-1])]
    if not any(path.is_dir() for _, path, _ in plan):
        raise SystemExit("there is no package: run the stage export-demo")
    for name, path, steps in plan:
        if path.is_dir():
            results.attempt(name, measure, results, name, path, steps, expected=SECONDS if here.full else 0.0)
    results.finish()


if __name__ == "__main__":
    main()
