"""The recommender: next item over sequences of events, from shop data to a gated candidate."""
