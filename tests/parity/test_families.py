"""Checkpoint families against transformers: :func:`check_family` over tiny random models of every class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.parity.reference import random_model, token_batch

from regard.checkpoints.contract import check_family
from regard.checkpoints.families import FAMILIES
from regard.checkpoints.reference import reference

BERT = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "max_position_embeddings": 14,
}

CONFIGS: Mapping[str, list[dict[str, Any]]] = {
    "bert": [
        BERT,
        {**BERT, "num_attention_heads": 1, "type_vocab_size": 3, "hidden_act": "gelu_new", "layer_norm_eps": 1e-5},
        {**BERT, "num_hidden_layers": 1, "hidden_size": 12, "num_attention_heads": 4, "hidden_act": "relu"},
        {**BERT, "num_hidden_layers": 1, "tie_word_embeddings": False},
    ],
    "distilbert": [
        {"dim": 8, "hidden_dim": 16, "n_heads": 2, "n_layers": 3, "max_position_embeddings": 14},
        {"dim": 8, "hidden_dim": 12, "n_heads": 1, "n_layers": 1, "max_position_embeddings": 14, "activation": "relu"},
        {"dim": 12, "hidden_dim": 8, "n_heads": 4, "n_layers": 2, "max_position_embeddings": 20},
    ],
}
"""At least three odd ones a family: one head, other activations, other widths."""
CONFIGS = {**CONFIGS, "roberta": CONFIGS["bert"], "xlm-roberta": CONFIGS["bert"]}

CASES = [
    (family, architecture, number)
    for family, configs in CONFIGS.items()
    for architecture in FAMILIES[family].architectures
    for number in range(len(configs))
]


@pytest.mark.parametrize(("family", "architecture", "number"), CASES)
def test_the_family_keeps_its_contract(family: str, architecture: str, number: int, tmp_path: Path):
    table = FAMILIES[family].architectures[architecture]
    labels = {"question-answering": 2, "multiple-choice": 1}.get(str(table.task), 3)
    model = random_model(architecture, vocab_size=20, num_labels=labels, **CONFIGS[family][number])
    types = getattr(model.config, "type_vocab_size", 0)
    head = table.fields is not None
    loaded = check_family(reference(model, token_batch(20, types=types), head=head), tmp_path)
    assert (None if loaded.task is None else loaded.task["task"]) == table.task
