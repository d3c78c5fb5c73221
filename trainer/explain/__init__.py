"""Why an answer: contributions by source, event and token."""
