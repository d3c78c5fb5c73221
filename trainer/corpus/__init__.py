"""Examples of a text task: read, cleaned, labelled, augmented, split, and described by a card."""
