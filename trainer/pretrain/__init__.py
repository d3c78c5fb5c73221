"""Pre-training on the shop's own text: tokenizer, objectives, and the loop that survives a kill."""
