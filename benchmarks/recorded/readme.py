"""Measured figures in README.md: the reasons to choose Triptych, and one comparison of whole systems.

python benchmarks/recorded/readme.py    # rewrites them between their markers
"""

import textwrap

from triptych.benchmarks.peers.figures import Case, Results, read
from triptych.benchmarks.peers.table import rows
from triptych.benchmarks.recorded.peers_plots import home_cases
from triptych.benchmarks.recorded.report import REPOSITORY, RESULTS, between, read_result
from triptych.runtime.sampling.registry import SCHEDULERS

README = REPOSITORY / "README.md"

PARTS = "peers-sd15-cpu"
"""Recorded run of all peers, component by component."""

SYSTEMS, CASE, PLOT = "peers-sd15-cpu", "unet", "components"
"""Recorded run, case and plot of the comparison."""

LABELS = {"openvino": "OpenVINO", "cpu": "**Triptych**", "optimum": "optimum-onnx", "diffusers": "diffusers (PyTorch)"}


def with_figures(readme: str) -> str:
    """The README's text with current figures."""
    readme = between(readme, "<!-- why -->\n", why(), "<!-- end of why -->\n")
    return between(readme, "<!-- performance -->\n", performance(), "<!-- end of performance -->\n")


def why() -> str:
    """Four reasons with their figures."""
    environments = read(RESULTS / f"{PARTS}.json").environments
    own, diffusers, optimum = (
        read_result("extras.json")["cpu"]["disk_mb"],
        *(environments[name]["megabytes"] for name in ("diffusers", "optimum")),
    )
    seconds = read_result("startup.json")["runtime_adds_seconds"]
    worst = min(facts["db"] for facts in read_result("export-sd15.json")["runs"]["fp32"]["components"].values())
    peak = read_result("memory.json")["measured"]["low_int8"]["peak_bytes"]
    decibels = read_result("int8.json")["psnr_db"]["mean"]
    speed = {name: facts["ratio"] for name, facts in read_result("int8-processors.json").items()}
    of_peer = {row[0]: row[3] for row in rows(*_case(PARTS, "unet"))}
    reasons = [
        f"**No PyTorch at run time.** An environment of {own:,.0f} MB, where diffusers takes {diffusers:,.0f} MB "
        f"and optimum-onnx {optimum:,.0f} MB. The import takes {seconds * 1e3:.0f} ms, without numpy and ONNX Runtime.",
        f"**The same image for the same seed.** {len(SCHEDULERS)} scheduler classes give the latents of diffusers' "
        "schedulers, step by step. On the same CPU an image is bit-identical from run to run; image *k* of a "
        "call is the image of `seed + k`, alone or in a batch.",
        f"**Nothing fails silently.** Each exported graph is compared with PyTorch: {worst:.0f} dB or more for Stable "
        "Diffusion 1.5 in fp32. Components that overflow float16 are found and stay in fp32. A missing fusion and a "
        "fallback to the CPU are errors.",
        f"**Fast and small on CPUs.** A U-Net call takes {of_peer['diffusers']} of PyTorch's time in fp32 and "
        f"{of_peer['optimum']} of optimum-onnx's. int8 takes {speed['avx512-vnni']:.2f} of fp32's time with "
        f"AVX512-VNNI, {speed['avx2']:.2f} with AVX2, at {decibels:.0f} dB. An image of 512x512 takes "
        f"{peak / 1e9:.1f} GB of memory in int8 with `--memory low`.",
    ]
    return "".join(textwrap.fill(f"- {reason}", 120, subsequent_indent="  ") + "\n" for reason in reasons)


def performance() -> str:
    """Table of whole systems, one run on one machine, and its plot."""
    results, case = _case(SYSTEMS, CASE)
    figures = {row[0]: row for row in rows(results, case)}
    machine = results.machine
    shown = [(label, figures[name]) for name, label in LABELS.items()]
    lines = [
        f"Stable Diffusion 1.5's architecture with random weights in fp32, {case.title}, {machine['cpu']}, "
        f"{machine['date'][:10]}. Same weights, prompt and seed, called alternately; medians. *ratio*: the time of "
        "Triptych divided by that of the other; below 1, Triptych is faster.",
        "",
        "| runtime | time | ratio | peak memory |",
        "| --- | --- | --- | --- |",
        *(f"| {label} | {row[1]} | {row[3]} | {row[7]} |" for label, row in shown),
        "",
        f"![The same figures as bars](docs/{SYSTEMS}-{PLOT}.png)",
        "",
        "In int8 and bf16 OpenVINO is ahead; Triptych's `openvino` extra uses it. All components, precisions and peers",
        "are in [docs/peers.md](docs/peers.md); memory, export, service and schedulers in",
        "[docs/benchmarks.md](docs/benchmarks.md).",
        "`triptych bench PACKAGE --against diffusers,openvino` measures on your machine.",
    ]
    return "\n".join(lines) + "\n"


def _case(name: str, what: str) -> tuple[Results, Case]:
    """Recorded figures of peers, and their first case of a component or an image."""
    results = read(RESULTS / f"{name}.json")
    return results, next(case for case in home_cases(results) if case.what == what)


if __name__ == "__main__":
    README.write_text(with_figures(README.read_text()))
