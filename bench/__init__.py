"""Measurements: each answers one question about quality or speed and prints one JSON line."""
