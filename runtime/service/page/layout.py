"""The page's controls, and which action each one starts."""

from typing import Any

import gradio as gr

from ..http.models import Models
from ..limits import Limits
from .actions import Actions
from .form import AUTO

_HOUR = 3600  # seconds that the files of pictures are kept at least
_HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
"""Of every action: no endpoint of an API, no overlay, no queue but that of the model."""


def blocks_of(models: Models, limits: Limits) -> gr.Blocks:
    """The page for the packages of `models`."""
    names, actions = [model.id for model in models.listed()], Actions(models, limits)
    blocks = gr.Blocks(title="Triptych", analytics_enabled=False, fill_width=True, delete_cache=(_HOUR, _HOUR))
    with blocks:
        gr.Markdown("# Triptych\nText to image in three ONNX graphs, on this service alone.", elem_id="title")
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=340):
                model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1, elem_id="model")
                prompt, negative, make, stop = _texts()
                steps, guidance, seed, draw, scheduler, size, pictures = _settings(limits)
                begin, editor, strength = _beginning()
            with gr.Column(scale=3, min_width=340):
                live, gallery, dropped, history = _pictures()
        form = [prompt, negative, steps, guidance, seed, draw, scheduler, size, pictures]
        offered = [steps, guidance, scheduler, size, begin, strength]
        blocks.load(actions.offered, model, offered, **_HIDDEN)
        model.input(actions.offered, model, offered, **_HIDDEN)
        asked = [model, editor, strength, history, *form]
        making = gr.on([make.click, prompt.submit], actions.made, asked, [live, gallery, history, seed], **_HIDDEN)
        stop.click(actions.stopped, None, [live, gallery], cancels=[making], **_HIDDEN)
        dropped.upload(actions.restored, [model, dropped], form, **_HIDDEN)
        history.select(actions.chosen, [model, history], form, **_HIDDEN)
    return blocks


def _texts() -> tuple[Any, ...]:
    prompt = gr.Textbox(
        label="Prompt", lines=3, max_lines=8, placeholder="What to draw", autofocus=True, elem_id="prompt"
    )
    negative = gr.Textbox(label="Negative prompt", placeholder="What to avoid", elem_id="negative")
    with gr.Row():
        make = gr.Button("Make pictures", variant="primary", elem_id="make", scale=2)
        stop = gr.Button("Stop", elem_id="stop", scale=1)
    return prompt, negative, make, stop


def _settings(limits: Limits) -> tuple[Any, ...]:
    with gr.Row():
        steps = gr.Slider(1, limits.steps, step=1, label="Steps", elem_id="steps")
        guidance = gr.Slider(1, 20, step=0.1, label="Guidance", elem_id="guidance")
    with gr.Row(equal_height=True):
        seed = gr.Textbox(label="Seed", placeholder="drawn", elem_id="seed")
        draw = gr.Checkbox(True, label="Draw a new one", container=False, elem_id="draw")
    with gr.Row():
        scheduler = gr.Dropdown([("the model's own", "")], value="", label="Scheduler", elem_id="scheduler")
        size = gr.Dropdown([AUTO], value=AUTO, allow_custom_value=True, label="Size", elem_id="size")
    pictures = gr.Slider(1, limits.pictures, value=1, step=1, label="Pictures", elem_id="pictures")
    return steps, guidance, seed, draw, scheduler, size, pictures


def _beginning() -> tuple[Any, ...]:
    with gr.Accordion("Begin from a picture", open=False, elem_id="begin") as begin:
        gr.Markdown("Paint over what is to be drawn anew; without paint, all of it may change.")
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
        strength = gr.Slider(0.05, 1, step=0.05, label="Strength: how much may change", elem_id="strength")
    return begin, editor, strength


def _pictures() -> tuple[Any, ...]:
    live = gr.HTML(visible=False, elem_id="live", padding=False)
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
    gr.Markdown("**Restore** the settings of a picture that was made here")
    dropped = gr.File(show_label=False, file_types=[".png"], type="filepath", height=140, elem_id="dropped")
    gr.Markdown("**History** of this page; choose a picture to have its settings back")
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
    return live, gallery, dropped, history
