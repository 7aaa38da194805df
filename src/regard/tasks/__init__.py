"""Tasks (floor 4): columns, head, loss, answers and metrics, one file each."""

from regard.tasks import text_classification

__all__ = ["text_classification"]
