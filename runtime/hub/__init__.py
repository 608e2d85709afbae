"""Packages on the Hugging Face hub: download, upload, and removal from its cache. The only home of huggingface_hub."""
