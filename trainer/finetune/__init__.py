"""Fine-tuning of a text encoder for a task: heads, methods, optimisers, sturdiness."""
