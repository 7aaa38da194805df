"""What a fine-tuning begins with, whatever the checkpoint was trained for."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from regard.checkpoints.families import FAMILIES
from regard.checkpoints.loaded import Loaded
from regard.checkpoints.rules import apply, unknown
from regard.models.config import HeadConfig

HEAD = "head."


def start_for(loaded: Loaded, task: str) -> tuple[HeadConfig | None, Mapping[str, Tensor]]:
    """The head that models of this task begin with, and all tensors that are there for the model.

    A checkpoint that was trained for the task keeps its own head. Another one gets the form of head that its family gives to
    such models, so that the result can be exported as one of them, with what it has of it: a masked language model often
    comes with the pooler of a classifier beside its own head. None when nothing is known of a head: the task has its own.
    """
    body = {name: tensor for name, tensor in loaded.tensors.items() if not name.startswith(HEAD)}
    family = None if loaded.origin is None else FAMILIES[loaded.origin.family]
    usual = None if family is None else family.serving(task)
    if loaded.origin is None or family is None or usual is None:
        return loaded.head, loaded.tensors
    if loaded.head is not None and loaded.head.over == usual.over:
        return loaded.head, loaded.tensors
    head = family.read(loaded.origin.config, usual, 0, where=loaded.source).head
    entries = usual.entries("", loaded.origin.config)
    known = {name: tensor for name, tensor in loaded.extra.items() if not unknown([name], entries)}
    found = {name: tensor for name, tensor in apply(known, entries).items() if name.startswith(HEAD)}
    return head, body | found
