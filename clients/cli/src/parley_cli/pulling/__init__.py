"""Fetching models: catalogue, resumable downloads, safe unpacking, receipts, Ollama. Used by `parley models pull`."""
