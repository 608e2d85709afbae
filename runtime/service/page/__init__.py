"""The page to play on, in Gradio, which is imported here first, as huggingface_hub reads its telemetry setting then."""

from ...environment import environment

with environment({"HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_ANALYTICS_ENABLED": "False"}):
    import gradio  # noqa: F401
