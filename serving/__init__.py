"""Answers over HTTP and Kafka, and the shadow that scores every other policy off the hot path."""
