"""Other stream processors doing the same work on the same topics, each in its own environment.

These modules import the product's schemas and intake rules, so that all decode and validate alike;
they never import its streams.
"""
