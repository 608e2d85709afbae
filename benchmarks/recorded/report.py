"""Measured figures in docs, written from benchmarks/recorded/results.

python benchmarks/recorded/report.py           # rewrites them between their markers
python benchmarks/recorded/report.py --check   # exit status 1 if one is stale
"""

import json
from pathlib import Path
from typing import Any

from triptych.benchmarks.peers.figures import read
from triptych.benchmarks.recorded import peers_page as peers
from triptych.runtime.sampling.registry import SCHEDULERS

REPOSITORY = Path(__file__).resolve().parents[2]
SCORES = REPOSITORY / "models" / "emoji" / "evaluation"
RESULTS = REPOSITORY / "benchmarks" / "recorded" / "results"
PAGE = REPOSITORY / "docs" / "benchmarks.md"
PACKAGES = REPOSITORY / "docs" / "packages.md"
INSTALLATION = REPOSITORY / "docs" / "installation.md"
SIZES_START, SIZES_END = "<!-- extras -->\n", "<!-- end of extras -->\n"
PURPOSES = {
    "": "help, `schedulers`, `inspect`, `doctor`",
    "cpu": "images on the CPU",
    "openvino": "images by OpenVINO",
    "cuda": "images on NVIDIA GPUs",
    "cpu,serve": "`triptych serve`",
    "cpu,bench": "`triptych bench`, plots",
    "cpu,parquet": "`triptych batch` with Parquet files",
    "cpu,ray": "service and batches on several machines",
    "cpu,export": "`triptych export`",
}
SPEED_START, SPEED_END = "<!-- int8 speed -->\n", "<!-- end of int8 speed -->\n"
PROCESSORS = {"avx2": "AVX2", "avx512": "AVX-512", "avx512-vnni": "AVX512-VNNI", "avx2-vnni": "AVX-VNNI"}

LOW = {"low": "`--memory low`, fp32", "low_int8": "`--memory low`, int8"}
NAMES = {"text_encoder": "text encoder", "unet": "U-Net, both halves of guidance", "vae_decoder": "VAE decoder"}


def page() -> str:
    """docs/benchmarks.md: latency per component at full size, other figures, peers."""
    bench = read_result("bench-sd15-cpu.json")
    lines = [
        "# Benchmarks",
        "",
        "Written by `python benchmarks/recorded/report.py` from `benchmarks/recorded/results`. Guidance calls the",
        "U-Net for two prompts at once, the prompt and the negative one. *GMAC*: 10^9 multiply-accumulates. *PSNR*:",
        "how close two images are, in decibels; above 40 dB differences are hard to see.",
        "",
        "## Components",
        "",
        *_components(bench),
        "",
        "## Other figures",
        "",
        "| what | figure |",
        "|---|---|",
        *_whole_image(bench),
        *_memory(),
        *_export(),
        *_start(),
        *_precisions(),
        *_service(),
        "",
        "Repeat them with `python benchmarks/checkpoints/make_checkpoint.py sd15-random`,",
        "`triptych export sd15-random sd15`, `triptych bench sd15 --device cpu`, and `export_cost.py`, `loop.py`,",
        "`startup.py`, `memory_policy.py`, `fidelity.py`, `spinning.py`, `serve_load.py` and `serve_soak.py` of",
        "`benchmarks/recorded`.",
        "",
        "## Other runtimes",
    ]
    for path in peers.recorded():
        results = read(path)
        machine = results.machine
        lines += [
            "",
            f"{machine['cores']} cores ({machine['cpu']}), called alternately with the same weights. In brackets: the "
            "time of Triptych divided by that of the other runtime ([all figures](peers.md)):",
            "",
            *peers.summary(results),
        ]
    return "\n".join(lines) + "\n"


def _components(bench: dict[str, Any]) -> list[str]:
    machine, conditions = bench["machine"], bench["conditions"]
    lines = [
        f"Stable Diffusion 1.5's architecture with random weights, {bench['package']['precision']}, "
        f"{conditions['width']}x{conditions['height']}, ONNX Runtime {bench['versions']['onnxruntime']} on "
        f"{machine['cores']} cores ({machine['cpu']}), {bench['date'][:10]}:",
        "",
        "| component | median | p90 | GMAC | GFLOP/s | of a large matrix product | weights |",
        "|---|---|---|---|---|---|---|",
    ]
    for component, facts in bench["components"].items():
        lines.append(
            f"| {NAMES[component]} | {_seconds(facts['median_seconds'])} | {_seconds(facts['p90_seconds'])} | "
            f"{facts['macs'] / 1e9:,.1f} | {facts['flops_per_second'] / 1e9:.0f} | "
            f"{facts['share_of_matrix_product']:.0%} | {facts['bytes'] / 1e6:,.0f} MB |"
        )
    return lines


def _whole_image(bench: dict[str, Any]) -> list[str]:
    conditions, image, sampler, loop = bench["conditions"], bench["picture"], bench["sampler"], read_result("loop.json")
    times, ratios = ([figures[key] for figures in loop["samplers"].values()] for key in ("microseconds", "ratio"))
    return [
        f"| image of {conditions['steps']} steps, guidance {conditions['guidance_scale']:g} | "
        f"{image['seconds']:.0f} s, loaded in {image['load_seconds']:.1f} s |",
        f"| everything in the loop except the denoiser | {sampler['seconds_per_step'] * 1e3:.2f} ms a step, "
        f"{sampler['share_of_network_call']:.3%} of the denoiser |",
        f"| schedulers of diffusers | {len(SCHEDULERS)} classes ([schedulers.md](schedulers.md)) |",
        f"| the loop's own arithmetic, {len(times)} samplers, {'x'.join(map(str, loop['shape']))} latents | "
        f"{min(times):.0f} to {max(times):.0f} µs a denoiser call; diffusers' schedulers take {min(ratios):.1f} times "
        f"as long or more ({loop['cpu']}) |",
        f"| peak memory of that image | {image['peak_bytes'] / 1e9:.2f} GB, {image['peak_to_weights']:.2f} times "
        "the weights in use |",
    ]


def _memory() -> list[str]:
    memory = read_result("memory.json")
    measured = memory["measured"]
    plain = measured["plain"]["peak_bytes"]
    lines = []
    for name, label in LOW.items():
        peak = measured[name]["peak_bytes"]
        lines.append(
            f"| peak memory of an image, {label} | {peak / 1e9:.2f} GB, {peak / plain:.2f} of plain ONNX Runtime's |"
        )
    whole, tiles, large, of_cpu = (
        measured[f"decoder_{way}"]["beyond_weights_bytes"]
        for way in ("1024_whole", "1024_tiles", "2048_tiles", "2048_tiles_cpu_dialect")
    )
    lines.append(
        f"| memory for decoding 1024x1024, excluding weights | {whole / 1e9:.2f} GB; {tiles / 1e9:.2f} GB in tiles "
        f"(PSNR {memory['tiles_db']:.0f} dB against the whole image); 2048x2048 in tiles: {large / 1e9:.2f} GB, or "
        f"{of_cpu / 1e9:.2f} GB in the cpu operator set |"
    )
    return lines


def _export() -> list[str]:
    lines = []
    for precision, run in read_result("export-sd15.json")["runs"].items():
        worst = min(facts["db"] for facts in run["components"].values())
        lines.append(
            f"| export and verification, {precision} | {run['seconds']:.0f} s, peak {run['peak_rss_gb']:.1f} GB "
            f"({run['peak_over_weights']:.2f} times the fp32 weights), every graph at {worst:.0f} dB or more |"
        )
    return lines


def _start() -> list[str]:
    spinning, startup = read_result("spinning.json"), read_result("startup.json")
    return [
        "| one image of the demo model, with threads that stop spinning after each graph run | "
        f"{spinning['seconds']['stops'] * 1e3:.0f} ms, {spinning['ratio']:.2f} times the time with ONNX Runtime's "
        "default |",
        f"| importing `triptych.runtime`, beyond numpy and ORT | {startup['runtime_adds_seconds'] * 1e3:.0f} ms |",
        f"| `triptych --help` | {startup['seconds']['triptych --help'] * 1e3:.0f} ms |",
        f"| an environment with `triptych[cpu]` alone | {startup['environment_mb']:.0f} MB, no PyTorch in it |",
    ]


def _precisions() -> list[str]:
    int8, fp32 = (json.loads((SCORES / f"onnx-{name}.json").read_text())["names"] for name in ("int8", "fp32"))
    return [
        f"| time of an int8 U-Net call relative to fp32 | {_int8_ratios()} ([packages.md](packages.md)) |",
        *(_fidelity(precision) for precision in ("int8", "w8", "w4")),
        f"| share of {int8['pictures']} demo-model images that match the prompt: int8, fp32 | "
        f"{int8['top1']:.1%}, {fp32['top1']:.1%} ([models/emoji](../models/emoji)) |",
    ]


def with_int8_speed(page: str) -> str:
    """The text of docs/packages.md with the current table of int8 calls."""
    measured = read_result("int8-processors.json")
    cpus = sorted({facts["cpu"] for facts in measured.values()})
    lines = [
        f"One row of Stable Diffusion 1.5's U-Net at 512x512, random weights, 2 cores ({', '.join(cpus)}), medians of "
        f"{min(facts['rounds'] for facts in measured.values())} alternating rounds "
        "(`python benchmarks/recorded/int8_speed.py`):",
        "",
        "| processor | int8 | fp32 | ratio |",
        "|---|---|---|---|",
        *(
            f"| {PROCESSORS[name]} | {_seconds(facts['int8_seconds'])} | {_seconds(facts['fp32_seconds'])} | "
            f"{facts['ratio']:.2f} |"
            for name, facts in sorted(measured.items())
        ),
    ]
    return between(page, SPEED_START, "\n".join(lines) + "\n", SPEED_END)


def with_extras(page: str) -> str:
    """The text of docs/installation.md with the current sizes of extras."""
    lines = ["| install | for | on disk | in memory |", "|---|---|---|---|"]
    for extras, figures in read_result("extras.json").items():
        name = f"`triptych[{extras}]`" if extras else "`triptych`"
        torch = f", PyTorch {figures['torch']}" if figures["torch"] else ""
        sizes = f"{figures['disk_mb']:,.0f} MB{torch} | {figures['memory_mb']:,.0f} MB"
        lines.append(f"| {name} | {PURPOSES[extras]} | {sizes} |")
    return between(page, SIZES_START, "\n".join(lines) + "\n", SIZES_END)


def between(text: str, start: str, content: str, end: str) -> str:
    """The text with this content between its two markers."""
    before, rest = text.split(start)
    _, after = rest.split(end)
    return before + start + content + end + after


def _int8_ratios() -> str:
    measured = read_result("int8-processors.json")
    return ", ".join(f"{facts['ratio']:.2f} with {PROCESSORS[name]}" for name, facts in sorted(measured.items()))


def _service() -> list[str]:
    """Rows of `triptych serve` with the demo model."""
    load, soak = read_result("serve.json"), read_result("serve-soak.json")
    closed, flood, before, after = load["closed"], load["open"], soak["before"], soak["after"]
    answers = sum(count for of_kind in soak["answers"].values() for count in of_kind.values())
    return [
        f"| `triptych serve` of the demo model | ready in {load['startup_seconds']:.1f} s, {load['idle_mb']:.0f} MB |",
        f"| under {closed['clients']} clients, calls of {load['batch']} | {closed['per_second']:.1f} images of "
        f"{load['steps']} steps a second, {closed['of_batch']:.2f} of `triptych batch` in turn with it |",
        f"| under {flood['offered_per_second'] / closed['per_second']:.0f} times that load | "
        f"{flood['refused_share']:.0%} of requests rejected with 429; the rest answered within "
        f"{flood['most_of_bound']:.2f} times the time of a full queue; none lost |",
        f"| {soak['seconds'] / 60:.0f} minutes of clients that disconnect, never read or send nothing, invalid and "
        "huge requests | "
        f"{answers:,} requests, {before['resident_mb']:.0f} to {after['resident_mb']:.0f} MB "
        f"({soak['resident_growth']:+.1%}), threads {before['threads']} to {after['threads']}, handles "
        f"{before['handles']} to {after['handles']} |",
    ]


def _fidelity(precision: str) -> str:
    """Row of the PSNR and SSIM of a precision."""
    measured = read_result(f"{precision}.json")
    psnr, count = measured["psnr_db"], measured["prompts"] * measured["seeds"]
    return (
        f"| {precision} against fp32, {count} images of the demo model | PSNR {psnr['mean']:.1f} dB, "
        f"{measured['below_30_db']} below 30, the worst {psnr['worst']:.1f}; SSIM {measured['ssim']['mean']:.3f} |"
    )


def read_result(name: str) -> dict[str, Any]:
    """A file of recorded figures, by its name."""
    return dict(json.loads((RESULTS / name).read_text()))


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.0f} ms"


if __name__ == "__main__":
    PAGE.write_text(page())
    INSTALLATION.write_text(with_extras(INSTALLATION.read_text()))
    PACKAGES.write_text(with_int8_speed(PACKAGES.read_text()))
