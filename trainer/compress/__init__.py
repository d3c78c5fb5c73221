"""Smaller versions of a model: pruned, distilled, quantised, and what each lost and won."""
