"""The trainer process: from a retrain event to a published model version."""
