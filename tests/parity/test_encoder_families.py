"""Encoder families against transformers: :func:`check_family` over tiny random models of every class."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import transformers
from tests.parity.reference import random_model, token_batch

from regard.checkpoints.contract import check_family
from regard.checkpoints.families import FAMILIES
from regard.checkpoints.reference import reference

SIZES = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "max_position_embeddings": 14,
}
DEBERTA = {
    **SIZES,
    "relative_attention": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_buckets": 4,
}
MODERNBERT = {
    **SIZES,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "cls_token_id": 1,
    "eos_token_id": 2,
    "sep_token_id": 2,
    "local_attention": 4,
}

BERTS = [
    SIZES,
    {**SIZES, "num_attention_heads": 1, "type_vocab_size": 3, "hidden_act": "gelu_new", "layer_norm_eps": 1e-5},
    {**SIZES, "num_hidden_layers": 1, "hidden_size": 12, "num_attention_heads": 4, "hidden_act": "relu"},
    {**SIZES, "num_hidden_layers": 1, "tie_word_embeddings": False},
]

CONFIGS: Mapping[str, list[dict[str, Any]]] = {
    "bert": BERTS,
    "roberta": BERTS,
    "xlm-roberta": BERTS,
    "distilbert": [
        {"dim": 8, "hidden_dim": 16, "n_heads": 2, "n_layers": 3, "max_position_embeddings": 14},
        {"dim": 8, "hidden_dim": 12, "n_heads": 1, "n_layers": 1, "max_position_embeddings": 14, "activation": "relu"},
        {"dim": 12, "hidden_dim": 8, "n_heads": 4, "n_layers": 2, "max_position_embeddings": 20},
    ],
    "albert": [
        {**SIZES, "embedding_size": 6},
        {**SIZES, "embedding_size": 8, "num_hidden_layers": 4, "num_hidden_groups": 2, "hidden_act": "relu"},
        {**SIZES, "embedding_size": 4, "num_attention_heads": 1, "type_vocab_size": 3, "layer_norm_eps": 1e-5},
        {**SIZES, "embedding_size": 5, "num_hidden_layers": 1, "tie_word_embeddings": False},
    ],
    "electra": [
        {**SIZES, "embedding_size": 6},
        {**SIZES, "embedding_size": 8, "summary_activation": "tanh", "classifier_dropout": 0.3},
        {**SIZES, "embedding_size": 4, "num_attention_heads": 1, "hidden_act": "gelu_new", "type_vocab_size": 1},
        {**SIZES, "embedding_size": 5, "num_hidden_layers": 1, "tie_word_embeddings": False},
    ],
    "deberta-v2": [
        DEBERTA,
        {**DEBERTA, "share_att_key": False, "position_biased_input": True, "norm_rel_ebd": "none", "type_vocab_size": 2},
        {**DEBERTA, "position_buckets": -1, "max_relative_positions": 5, "num_attention_heads": 1, "pos_att_type": ["c2p"]},
        {**DEBERTA, "position_buckets": 6, "share_att_key": False, "pos_att_type": ["p2c"], "embedding_size": 6},
        {**DEBERTA, "conv_kernel_size": 3, "conv_act": "gelu", "pooler_hidden_act": "tanh", "legacy": False},
        {**DEBERTA, "conv_kernel_size": 5, "conv_groups": 2, "tie_word_embeddings": False, "num_hidden_layers": 1},
        {**SIZES, "hidden_act": "relu", "layer_norm_eps": 1e-5, "cls_dropout": 0.2, "embedding_size": 10},
    ],
    "modernbert": [
        {**MODERNBERT, "num_hidden_layers": 4},
        {**MODERNBERT, "num_attention_heads": 1, "norm_bias": True, "attention_bias": True, "classifier_pooling": "mean"},
        {**MODERNBERT, "mlp_bias": True, "classifier_bias": True, "decoder_bias": False, "tie_word_embeddings": False},
        {**MODERNBERT, "layer_types": 3 * ["full_attention"], "hidden_activation": "silu", "classifier_activation": "relu"},
        {**MODERNBERT, "num_hidden_layers": 2, "layer_types": 2 * ["sliding_attention"], "local_attention": 3},
    ],
}
"""At least three odd ones a family: one head, tied and untied tables, embeddings as wide as the rest, no and all biases,
other activations, other widths."""

CASES = [
    (family, architecture, number)
    for family, configs in CONFIGS.items()
    for architecture in FAMILIES[family].architectures
    for number in range(len(configs))
]


@pytest.mark.parametrize(("family", "architecture", "number"), CASES)
def test_the_family_keeps_its_contract(family: str, architecture: str, number: int, tmp_path: Path) -> None:
    table = FAMILIES[family].architectures[architecture]
    labels = {"question-answering": 2, "multiple-choice": 1}.get(str(table.task), 3)
    model = random_model(architecture, vocab_size=20, num_labels=labels, **CONFIGS[family][number])
    types = getattr(model.config, "type_vocab_size", 0)
    loaded = check_family(reference(model, token_batch(20, types=types), head=table.fields is not None), tmp_path)
    assert (None if loaded.task is None else loaded.task["task"]) == table.task


@pytest.mark.parametrize("family", ["albert", "electra", "deberta-v2", "modernbert"])
def test_an_absent_key_means_what_it_means_there(family: str) -> None:
    """The whole config.json that theirs writes says the same as one with the sizes alone."""
    tables = FAMILIES[family]
    sizes = {**SIZES, "vocab_size": 20, "pad_token_id": 0}
    for architecture in tables.architectures.values():
        kind = getattr(transformers, architecture.name).config_class
        whole = json.loads(kind(**sizes).to_json_string(use_diff=False))
        n_outputs = None if architecture.fields is None else 2
        null = {**dict.fromkeys(whole.keys() - {"local_rope_theta"}), **sizes}
        said, *unsaid = (tables.read(values, architecture, n_outputs, where="") for values in (whole, sizes, null))
        assert unsaid == [said, said]
