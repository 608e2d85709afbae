"""Theme and CSS of the page; nothing is loaded from other hosts."""

import gradio as gr

THEME = gr.themes.Default(
    primary_hue="indigo",
    neutral_hue="slate",
    radius_size="lg",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
)

CSS = """
.gradio-container { width: 100% !important; max-width: 1280px !important; margin: 0 auto; }
#title h1 { margin: 0; font-size: 1.5rem; }
#title p { margin: 0; opacity: .65; }
#draw { align-self: center; }
#live .bar { height: .5rem; border-radius: .25rem; background: var(--border-color-primary); overflow: hidden; }
#live .bar div { height: 100%; background: var(--color-accent); transition: width .2s; }
#live p { margin: .25rem 0 .75rem; opacity: .75; font-variant-numeric: tabular-nums; }
#live .pictures { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); }
#live figure { margin: 0; text-align: center; }
#live img, #live .empty { width: 100%; height: 420px; object-fit: contain; border-radius: .5rem; }
#live figure:not(:only-child) :is(img, .empty) { height: 200px; }
#live .empty { background: var(--background-fill-secondary); }
#history .caption-label { max-width: 100%; font-size: .7rem; }
#live figcaption { opacity: .65; font-size: .85rem; }
"""
