"""Prompts to token ids to embeddings."""
