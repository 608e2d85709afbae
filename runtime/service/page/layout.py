"""Controls of the page, and the event handler of each."""

from typing import Any

import gradio as gr

from ..http.models import Models
from ..limits import Limits
from .actions import Actions
from .form import AUTO

_HOUR = 3600  # seconds that image files are kept at least
_HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
"""Options of all event handlers: no API endpoint, no overlay, no queue except that of the model."""


def blocks_of(models: Models, limits: Limits) -> gr.Blocks:
    """Gradio blocks of the page for the packages of `models`."""
    names, actions = [*models.packages], Actions(models, limits)
    blocks = gr.Blocks(title="Triptych", analytics_enabled=False, fill_width=True, delete_cache=(_HOUR, _HOUR))
    with blocks:
        gr.Markdown("# Triptych\nText-to-image with ONNX Runtime, on this service alone.", elem_id="title")
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=340):
                model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1, elem_id="model")
                prompt, negative, generate, stop = _texts()
                steps, guidance, seed, random_seed, scheduler, size, images = _settings(limits)
                section, editor, strength = _image_to_image()
            with gr.Column(scale=3, min_width=340):
                progress, gallery, upload, history = _results()
        form = [prompt, negative, steps, guidance, seed, random_seed, scheduler, size, images]
        controls = [steps, guidance, scheduler, size, section, strength]
        blocks.load(actions.model_controls, model, controls, **_HIDDEN)
        model.input(actions.model_controls, model, controls, **_HIDDEN)
        inputs = [model, editor, strength, history, *form]
        outputs = [progress, gallery, history, seed]
        running = gr.on([generate.click, prompt.submit], actions.generate, inputs, outputs, **_HIDDEN)
        stop.click(actions.stop, None, [progress, gallery], cancels=[running], **_HIDDEN)
        upload.upload(actions.restore, [model, upload], form, **_HIDDEN)
        history.select(actions.restore_from_history, [model, history], form, **_HIDDEN)
    return blocks


def _texts() -> tuple[Any, ...]:
    prompt = gr.Textbox(
        label="Prompt",
        lines=3,
        max_lines=8,
        placeholder="Content of the image",
        autofocus=True,
        elem_id="prompt",
    )
    negative = gr.Textbox(label="Negative prompt", placeholder="Content to avoid", elem_id="negative")
    with gr.Row():
        generate = gr.Button("Generate", variant="primary", elem_id="make", scale=2)
        stop = gr.Button("Stop", elem_id="stop", scale=1)
    return prompt, negative, generate, stop


def _settings(limits: Limits) -> tuple[Any, ...]:
    with gr.Row():
        steps = gr.Slider(1, limits.steps, step=1, label="Steps", elem_id="steps")
        guidance = gr.Slider(1, 20, step=0.1, label="Guidance", elem_id="guidance")
    with gr.Row(equal_height=True):
        seed = gr.Textbox(label="Seed", placeholder="random", elem_id="seed")
        random_seed = gr.Checkbox(True, label="Random seed", container=False, elem_id="draw")
    with gr.Row():
        scheduler = gr.Dropdown([("default", "")], value="", label="Scheduler", elem_id="scheduler")
        size = gr.Dropdown([AUTO], value=AUTO, allow_custom_value=True, label="Size", elem_id="size")
    images = gr.Slider(1, limits.pictures, value=1, step=1, label="Images", elem_id="pictures")
    return steps, guidance, seed, random_seed, scheduler, size, images


def _image_to_image() -> tuple[Any, ...]:
    with gr.Accordion("Image-to-image and inpainting", open=False, elem_id="begin") as section:
        gr.Markdown("Upload an init image. To inpaint, paint a mask over the area to change.")
        editor = gr.ImageEditor(
            type="pil",
            image_mode="RGBA",
            format="png",
            show_label=False,
            sources=("upload", "clipboard"),
            transforms=(),
            layers=False,
            brush=gr.Brush(colors=["#ffffff"], color_mode="fixed"),
            buttons=[],
            height=380,
            canvas_size=(320, 320),
            elem_id="editor",
        )
        strength = gr.Slider(0.05, 1, step=0.05, label="Strength of the change", elem_id="strength")
    return section, editor, strength


def _results() -> tuple[Any, ...]:
    progress = gr.HTML(visible=False, elem_id="live", padding=False)
    gallery = gr.Gallery(
        show_label=False,
        format="png",
        columns=2,
        height=520,
        object_fit="contain",
        buttons=["download", "fullscreen"],
        interactive=False,
        elem_id="gallery",
    )
    gr.Markdown("**Restore** the settings of an image generated here: upload its PNG file")
    upload = gr.File(show_label=False, file_types=[".png"], type="filepath", height=140, elem_id="dropped")
    gr.Markdown("**History** of this page: select an image to restore its settings")
    history = gr.Gallery(
        show_label=False,
        format="png",
        columns=6,
        height=200,
        fit_columns=False,
        allow_preview=False,
        object_fit="cover",
        buttons=[],
        interactive=False,
        elem_id="history",
    )
    return progress, gallery, upload, history
