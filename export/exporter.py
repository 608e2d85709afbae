"""Export of a checkpoint as a package, which is verified before it is published."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from onnx_ir import Model
from torch import nn

from triptych.runtime.families.parts import MODEL
from triptych.runtime.footprint import give_back
from triptych.runtime.ort.library import check_installed
from triptych.runtime.package.manifest import MANIFEST
from triptych.runtime.package.signatures import DECODER

from .arguments import Arguments
from .card import write_card, write_defaults
from .checkpoint import (
    Checkpoint,
    open_checkpoint,
    tokenizer_of,
    with_clip_skip,
    with_embeddings,
    with_loras,
    with_preview_decoder,
    with_vae,
    write_tokenizer,
)
from .components import Component, components_of, fit_latent_rgb, static_sizes
from .components.macs import count_macs
from .defaults import stated_defaults
from .dialects import check_declared, declared_operators, graphs_of
from .files import describe_files, write_json
from .garbage import set_aside
from .graph import GRAPH, count_operators, describe, opset_of, optimise, save, to_onnx
from .manifest import ComponentRecord, GraphRecord, manifest
from .options import Options, checked_options
from .precision import FP32_FLOOR_DB
from .publish import publish
from .quantization.calibration import Calibration, CalibrationRun, calibrate
from .quantization.plan import Plan, quantize
from .quantization.weights import quantize_weights
from .quiet import quiet
from .verification.first_image import compare
from .verification.image_quality import IMAGES_FLOOR_DB, SSIM_FLOOR, check_quality, measure_quality, record
from .verification.overflow import largest_value
from .verification.parity import ReferenceCase, reference_cases, verify
from .verification.widening import widened

Report = Callable[[str], None]
Loader = Callable[[], Component]

_COPIES = 2.5
"""Peak memory in the bytes of the largest component: 2.4 for SD 1.5 in fp32, 2.8 in fp16, see `export_cost`."""

_NOT_EXPORTED = ("feature_extractor", "image_encoder", "safety_checker")


def export(
    source: str | Path,
    package: str | Path,
    *,
    precision: str = "fp32",
    dialect: str | None = None,
    static: tuple[int, int, int] | None = None,
    force: bool = False,
    revision: str | None = None,
    variant: str | None = None,
    config: str | Path | None = None,
    prediction_type: str | None = None,
    vae: str | Path | None = None,
    loras: Sequence[tuple[str | Path, float]] = (),
    preview_decoder: str | Path | None = None,
    embeddings: Sequence[str | Path] = (),
    clip_skip: int = 0,
    calibration: CalibrationRun | None = None,
    allow_low_quality: bool = False,
    defaults: str | Path | None = None,
    without: Sequence[str] = (),
    report: Report = lambda line: None,
    progress: Report = lambda line: None,
) -> Path:
    """Write the checkpoint as a package of verified ONNX graphs, and return its folder.

    One component is in memory at a time. Nothing is at `package` before every graph is verified.

    Args:
        source: a diffusers folder, a .safetensors file in the layout of the original release, or a hub id.
        package: the folder to write.
        precision: fp32, fp16 (inputs, outputs and weights; needs no GPU), int8 (most layers of U-Net and decoder,
            see `quantization.calibration`), w8 or w4 (weights alone, see `quantization.weights`).
        dialect: operator set: portable (standard ONNX operators only), cpu (fused kernels of ONNX Runtime for CPUs,
            optimised once, at export) or cuda (those of its CUDA provider, in fixed shapes); None is that of this
            machine.
        static: batch of the U-Net (2 is one image with guidance), height and width in pixels, for graphs of fixed
            shapes; text encoders have a batch of at most 2, the other graphs of 1. None leaves batch, height and width
            open, or fixes them to one image of the checkpoint's own size with guidance where the operator set has
            fixed shapes only.
        force: replace an existing package when the new one is whole.
        revision: branch, tag or commit of a hub id.
        variant: of the weights in a folder or hub id, such as fp16; a component without it has its plain weights.
        config: configuration of a single file: a diffusers folder, or a name in `configurations`; None detects it.
        prediction_type: epsilon, v_prediction or sample, for files that state nothing; None is what the source states.
        vae: a diffusers folder, .safetensors file or hub id of an autoencoder in place of the checkpoint's own.
        loras: .safetensors files, folders or hub ids of LoRAs to fuse into the weights, each with its weight.
        preview_decoder: a diffusers folder or hub id of an `AutoencoderTiny` for the same latents, for previews.
        embeddings: learned words (textual inversion) to add, each a .safetensors file or "FILE=TOKEN".
        clip_skip: number of the text encoder's last layers to leave out, as diffusers counts them.
        calibration: prompts and settings of the run that int8 is calibrated on; None is `CalibrationRun()`.
        allow_low_quality: in int8, publish a package whose images are below the floor, see
            `verification.image_quality`.
        defaults: JSON or TOML file of the package's defaults, see docs/packages.md; None is the
            triptych-defaults.json of a checkpoint folder, if it has one.
        without: names of text encoders to leave out, such as text_encoder_3, the T5 of Stable Diffusion 3.
        report: called with a line of text after each step.
        progress: called with a line of text as each stage of a component begins.

    Raises:
        ArgumentError: an unknown precision or operator set, options that do not go together, or a calibration or
            clip_skip out of range.
        SourceError: a checkpoint, an embedding or defaults that are missing, broken or not supported.
        VerificationError: a graph differs from PyTorch, or images in int8 are below their floor.
        TriptychError: the destination exists, is not writable, or its disk is full.
    """
    Arguments(
        source=source,
        package=package,
        precision=precision,
        dialect=dialect,
        static=static,
        force=force,
        revision=revision,
        variant=variant,
        config=config,
        prediction_type=prediction_type,
        vae=vae,
        loras=loras,
        preview_decoder=preview_decoder,
        embeddings=embeddings,
        clip_skip=clip_skip,
        calibrated=calibration is not None,
        allow_low_quality=allow_low_quality,
        defaults=defaults,
        without=without,
    ).check()
    check_installed()
    stated = stated_defaults(source, defaults)
    options = checked_options(precision, dialect, static, calibration, allow_low_quality, stated)
    checkpoint = open_checkpoint(
        source, revision, variant=variant, config=config, prediction_type=prediction_type, without=without
    )
    if vae is not None:
        checkpoint = with_vae(checkpoint, vae)
    if loras:
        checkpoint = with_loras(checkpoint, loras)
    if preview_decoder is not None:
        checkpoint = with_preview_decoder(checkpoint, preview_decoder)
    if embeddings:
        checkpoint = with_embeddings(checkpoint, embeddings)
    if clip_skip:
        checkpoint = with_clip_skip(checkpoint, clip_skip)
    options = options.for_checkpoint(checkpoint)
    components = components_of(checkpoint)
    for encoder in checkpoint.family.encoders:
        tokenizer_of(checkpoint, encoder.name)  # a broken one is found before anything is exported
    needed = checkpoint.weights_bytes() * options.precision.dtype.itemsize // 4
    report(_size(checkpoint))
    with publish(Path(package), force=force, needed_bytes=needed) as folder:
        _write_package(checkpoint, components, folder, options, report, progress)
        write_defaults(folder, options)  # last: verification is without them
        write_card(folder, Path(package).absolute().name, checkpoint, options)
    report(f"{package}: {sum(file.stat().st_size for file in Path(package).rglob('*') if file.is_file()) / 1e9:.2f} GB")
    return Path(package)


def _write_package(
    checkpoint: Checkpoint,
    components: Mapping[str, Loader],
    folder: Path,
    options: Options,
    report: Report,
    progress: Report,
) -> None:
    """Write everything that a package holds into an empty folder."""
    calibration = None
    if options.precision.calibrated:
        progress("calibrating")
        calibration = _calibrate(checkpoint, options, report)
    records: dict[str, ComponentRecord] = {}
    for name, load in components.items():
        start = time.perf_counter()
        plan = None if calibration is None else calibration.plans.get(name)
        with quiet(), set_aside():
            stage = partial(_stage, progress, f"{name}, {len(records) + 1} of {len(components)}")
            records[name] = export_component(load, checkpoint, folder / name, options, plan, stage)
        report(_summary(name, records[name], time.perf_counter() - start))
        for note in records[name].graph.notes:
            report(f"{name}: {note}")
    _write_configuration(checkpoint, folder)
    write_json(folder / MANIFEST, manifest(checkpoint, options, records, folder))
    progress("comparing an image with PyTorch's")
    with set_aside():
        first = compare(folder, checkpoint, options, sum(each.graph.parameters for each in records.values()))
    if first is not None:
        report(str(first))
        record(folder, "image", first.as_json())
    give_back()
    if calibration is not None:
        progress("comparing the images of the calibration")
        _check_images(folder, calibration, options, report)


def _calibrate(checkpoint: Checkpoint, options: Options, report: Report) -> Calibration:
    start = time.perf_counter()
    with quiet():
        calibration = calibrate(checkpoint, options.dialect, options.static, options.calibration)
    give_back()
    report(f"calibration: {len(calibration.images)} images, {time.perf_counter() - start:.0f} s")
    return calibration


def export_component(
    load: Loader,
    checkpoint: Checkpoint,
    folder: Path,
    options: Options,
    plan: Plan | None,
    stage: Report = lambda line: None,
) -> ComponentRecord:
    """Export and verify one component; when this returns, neither its module nor its session is in memory."""
    folder.mkdir()
    written = _write_graph(load, checkpoint, folder, options, plan, stage)
    give_back()  # the module's, before ONNX Runtime loads the graph
    name, precision, optimised = folder.name, options.precision, options.dialect.optimised
    if optimised:
        stage("fusing operators")
    files = optimise(folder) if optimised else written.files
    operators = count_operators(*(file for file in files if file.suffix == ".onnx"))
    check_declared(name, written.record.declared, operators)
    floor_db = precision.floor_db if plan is not None or not precision.calibrated else FP32_FLOOR_DB
    as_written = optimised or written.dtype == torch.float16
    stage("verifying against PyTorch")
    parity = verify(name, folder / GRAPH, written.cases, floor_db, written.record.parts or (), optimise=not as_written)
    give_back()
    return ComponentRecord(written.record, operators, optimised, parity, describe_files(files, folder.parent))


@dataclass(frozen=True)
class _WrittenGraph:
    """A graph on disk, its dtype, and the cases to verify it on."""

    record: GraphRecord
    files: list[Path]
    dtype: torch.dtype
    cases: list[ReferenceCase]


def _write_graph(
    load: Loader, checkpoint: Checkpoint, folder: Path, options: Options, plan: Plan | None, stage: Report
) -> _WrittenGraph:
    """Load a component, run it in PyTorch for reference, rewrite it, and write its graph."""
    stage("loading weights")
    component = load()
    if options.precision.dtype == torch.float32:
        component.module.float()
    sizes = None if options.static is None else static_sizes(checkpoint, component, options.static)
    write_json(folder / "config.json", component.config)
    parameters = sum(parameter.numel() for parameter in component.module.parameters())
    stage("running in PyTorch, for reference")
    with widened(component.module):
        macs = count_macs(component)
        with largest_value(component.module) as largest:
            cases = reference_cases(component, sizes, () if plan is None else plan.samples)
            latent_rgb = fit_latent_rgb(component) if component.name == DECODER else None
    give_back()
    dtype = options.precision.dtype
    kept_in_fp32 = None if dtype == torch.float32 else largest.reason or component.keeps_fp32
    if kept_in_fp32 is not None:
        dtype = torch.float32
    component = replace(component, module=_rewritten(component.module, options, plan).to(dtype))
    models: dict[str, Model] = {}
    declared: Counter[str] = Counter()
    stage("tracing")
    for name, each in graphs_of(component, sizes).items():
        declared.update(declared_operators(each, dtype))
        models[name] = to_onnx(each, dtype, sizes)
    stage("writing")
    files = [file for name, model in models.items() for file in save(model, folder, name)]
    described = {value.name: describe(value) for model in models.values() for value in model.graph.inputs}
    graph = GraphRecord(
        inputs=[described[name] for name in component.inputs],
        outputs=[describe(value) for value in models[MODEL].graph.outputs],
        parameters=parameters,
        default_shape={name: list(shape) for name, shape in component.shapes(component.default).items()},
        macs=macs,
        kept_in_fp32=kept_in_fp32,
        fp32_inside=largest.fp32_inside if dtype == torch.float16 else None,
        kept_in_float=None if plan is None else sorted(plan.kept),
        opset=opset_of(models[MODEL]),
        declared=dict(sorted(declared.items())),
        parts=[name for name in models if name != MODEL] or None,
        latent_rgb=latent_rgb,
    )
    return _WrittenGraph(graph, files, dtype, cases)


def _rewritten(module: nn.Module, options: Options, plan: Plan | None) -> nn.Module:
    """The module in the operator set and precision of the options."""
    module = options.dialect.rewrite(module)
    if plan is not None:
        quantize(module, plan, options.dialect.name)
    if options.precision.weights is not None:
        quantize_weights(module, options.precision.weights, options.dialect.name)
    return module


def _check_images(folder: Path, calibration: Calibration, options: Options, report: Report) -> None:
    """Compare the package's images with the calibration's, and record the figures in the manifest."""
    quality = measure_quality(folder, calibration)
    report(
        f"images: {quality['psnr_db']} dB from PyTorch's (floor {IMAGES_FLOOR_DB:g}), the worst "
        f"{quality['psnr_db_worst']} dB, its SSIM {quality['ssim_worst']} (floor {SSIM_FLOOR:g})"
    )
    if not options.allow_low_quality:
        check_quality(quality)
    record(folder, "pictures", quality)


def _write_configuration(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the other files of a package: model_index.json, the scheduler's configuration, the tokenizers."""
    index = {key: [None, None] if key in _NOT_EXPORTED else value for key, value in checkpoint.model_index.items()}
    index = {key: value for key, value in index.items() if key != "_name_or_path"}
    write_json(folder / "model_index.json", index | {"requires_safety_checker": False})
    (folder / "scheduler").mkdir()
    write_json(folder / "scheduler" / "scheduler_config.json", checkpoint.scheduler)
    for encoder in checkpoint.family.encoders:
        write_tokenizer(checkpoint, encoder.name, folder / encoder.tokenizer)


def _stage(progress: Report, component: str, stage: str) -> None:
    progress(f"{component}: {stage}")


def _size(checkpoint: Checkpoint) -> str:
    """Weights of each part, and memory by the largest one: it is there as module, as graph and in ONNX Runtime."""
    sizes = {name: part.weights_bytes() for name, part in checkpoint.parts.items()}
    parts = ", ".join(f"{name} {size / 1e9:.2f} GB" for name, size in sizes.items())
    return f"weights: {parts}; about {_COPIES * max(sizes.values()) / 1e9:.1f} GB of memory"


def _summary(name: str, component: ComponentRecord, seconds: float) -> str:
    graph, parity = component.graph, component.parity
    return (
        f"{name}: {graph.parameters / 1e6:,.1f} M parameters, {graph.macs / 1e9:,.1f} GMAC, "
        f"{parity.db:.1f} dB from PyTorch (floor {parity.floor_db:g}), "
        f"max error {parity.max_abs_error:.1e}, {seconds:.0f} s"
    )
