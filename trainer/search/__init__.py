"""Search: query and product encoders, the re-ranker, BM25, and their blend."""
