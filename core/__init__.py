"""Decisions without I/O: every result here follows from its arguments."""
