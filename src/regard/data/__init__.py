"""Rows to batches (floor 3): reading, checking, storing, batching."""
