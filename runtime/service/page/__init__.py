"""Web page of the service, in Gradio, imported here first: huggingface_hub reads its telemetry setting on import."""

from ...environment import environment

with environment({"HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_ANALYTICS_ENABLED": "False"}):
    import gradio  # noqa: F401
