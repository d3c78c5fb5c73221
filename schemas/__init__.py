"""Every record that crosses a process boundary, the topics that carry them, and the errors."""
