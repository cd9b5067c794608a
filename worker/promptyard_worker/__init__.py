"""Promptyard worker: routes prompts and calls the model."""
