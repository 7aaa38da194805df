"""Encoder-decoder families against transformers: :func:`check_family` over tiny random models of every class, and what
their files look like, tied and not, old and new."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.parity.reference import random_model, token_batch
from torch import Tensor, nn

from regard.checkpoints import Loaded, export_hf, load, read_safetensors, write_safetensors
from regard.checkpoints.contract import check_answer, check_family
from regard.checkpoints.families import FAMILIES
from regard.checkpoints.reference import answer_of, reference
from regard.data.batch import Listed
from regard.errors import ConfigError
from regard.models.build import filled
from regard.tasks.infer import infer

WORDS = 20
T5 = {
    "d_model": 8,
    "d_kv": 4,
    "d_ff": 16,
    "num_layers": 2,
    "num_heads": 2,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 9,
    "decoder_start_token_id": 0,
}
BART = {
    "d_model": 8,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 12,
    "max_position_embeddings": 14,
    "pad_token_id": 1,
}
ONE = {"encoder_attention_heads": 1, "decoder_attention_heads": 1, "decoder_layers": 1}
MARIAN = {**BART, "pad_token_id": 19, "decoder_start_token_id": 19}

CONFIGS: Mapping[str, list[dict[str, Any]]] = {
    "t5": [
        T5,
        {**T5, "num_heads": 1, "d_kv": 5, "num_decoder_layers": 3, "feed_forward_proj": "gated-gelu"},
        {**T5, "num_layers": 1, "feed_forward_proj": "gated-silu", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": False},
        {**T5, "num_decoder_layers": 1, "feed_forward_proj": "gelu", "decoder_start_token_id": 2},
    ],
    "mt5": [
        T5,
        {**T5, "num_heads": 1, "d_kv": 5, "num_decoder_layers": 3},
        {**T5, "num_layers": 1, "feed_forward_proj": "relu", "layer_norm_epsilon": 1e-5},
    ],
    "bart": [
        BART,
        {**BART, **ONE, "scale_embedding": True, "activation_function": "relu", "decoder_start_token_id": 0},
        {**BART, "encoder_layers": 1, "activation_function": "gelu_new", "tie_word_embeddings": False},
    ],
    "marian": [
        MARIAN,
        {**MARIAN, **ONE, "scale_embedding": True, "activation_function": "swish", "d_model": 9},
        {**MARIAN, "share_encoder_decoder_embeddings": False, "decoder_vocab_size": 23},
        {**MARIAN, "share_encoder_decoder_embeddings": False, "tie_word_embeddings": False},
        {**MARIAN, "tie_word_embeddings": False},
    ],
    "m2m_100": [
        BART,
        {**BART, **ONE, "pad_token_id": 0, "d_model": 9, "scale_embedding": False},
        {**BART, "activation_function": "gelu", "tie_word_embeddings": False},
    ],
}
"""Odd ones: one head, heads of another width than d_model allows, halves of different sizes, tables of their own."""
CONFIGS = {**CONFIGS, "mbart": CONFIGS["bart"]}

CASES = [
    (family, architecture, number)
    for family, configs in CONFIGS.items()
    for architecture in FAMILIES[family].architectures
    for number in range(len(configs))
]


def lively(architecture: str, **config: Any) -> Any:
    """A random model whose buffers are no longer zero."""
    model = random_model(architecture, vocab_size=WORDS, **config)
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.normal_()
    return model


LOW = 4
"""Above all special ids but Marian's, which are the last."""


def texts(model: Any) -> dict[str, Tensor]:
    """A padded batch of texts with the one end token that theirs looks for."""
    batch = token_batch(WORDS - 1, low=LOW)
    last = batch["attention_mask"].sum(1) - 1
    batch["inputs"][torch.arange(len(last)), last] = model.config.eos_token_id
    batch["inputs"].masked_fill_(batch["attention_mask"] == 0, model.config.pad_token_id)
    return batch


def pairs(model: Any) -> dict[str, Tensor]:
    """The same, and what is written of them, of other lengths."""
    target = token_batch(WORDS - 1, low=LOW, tokens=7, seed=2)
    return {**texts(model), "decoder_ids": target["inputs"], "decoder_mask": target["attention_mask"].flip(0)}


@pytest.mark.parametrize(("family", "architecture", "number"), CASES)
def test_the_family_keeps_its_contract(family: str, architecture: str, number: int, tmp_path: Path) -> None:
    table = FAMILIES[family].architectures[architecture]
    kind = table.fixed.get("kind", "encoder-decoder")
    labels = {} if table.task == "question-answering" else {"num_labels": 3}
    model = lively(architecture, **labels, **CONFIGS[family][number])
    reads_twice = kind == "encoder-decoder" and table.task in ("text-classification", "question-answering")
    batch = texts(model) if reads_twice or kind == "encoder" else pairs(model)
    loaded = check_family(reference(model, batch), tmp_path)
    assert loaded.config.kind == kind
    assert (None if loaded.task is None else loaded.task["task"]) == table.task


# ---- which tables are one ------------------------------------------------------------------------------------------------


def untied(architecture: str, **config: Any) -> Any:
    """A model whose output matrix is its own, though its config.json says nothing of it."""
    model = lively(architecture, **config)
    model.lm_head.weight = nn.Parameter(torch.randn_like(model.lm_head.weight))
    model.all_tied_weights_keys.pop("lm_head.weight")
    return model


def rewritten(folder: Path, tensors: Mapping[str, Tensor | None], **config: Any) -> dict[str, Tensor]:
    """Change a folder's files; None takes a tensor or a key away. Returns the tensors."""
    path = folder / "config.json"
    said = {**json.loads(path.read_text(encoding="utf-8")), **config}
    path.write_text(json.dumps({key: value for key, value in said.items() if value is not None}), encoding="utf-8")
    stored = {**read_safetensors(folder / "model.safetensors"), **tensors}
    kept = {name: tensor.clone() for name, tensor in stored.items() if tensor is not None}
    write_safetensors(folder / "model.safetensors", kept)
    return kept


def agrees(folder: Path, model: Any) -> Loaded:
    """What ours makes of a folder is what `model` makes, which the export, loaded by theirs, makes too."""
    loaded = load(folder)
    batch = pairs(model)
    expected = answer_of(model)(batch)
    assert expected.output is not None
    with torch.inference_mode():
        check_answer(filled(loaded.config, loaded.head, loaded.tensors), batch, expected)
    export_hf(loaded, folder / "export")
    again, report = type(model).from_pretrained(folder / "export", output_loading_info=True)
    assert not any(report.values()), report
    torch.testing.assert_close(answer_of(again.eval())(batch).output, expected.output, atol=1e-5, rtol=0)
    return loaded


@pytest.mark.parametrize("family", ["t5", "mt5"])
@pytest.mark.parametrize("scaled", [True, False])
def test_t5_with_an_output_matrix_of_its_own(family: str, scaled: bool, tmp_path: Path) -> None:
    """Newer files say by a key of their own whether states are scaled; theirs reads tied or not from the tensors."""
    model = untied({"t5": "T5", "mt5": "MT5"}[family] + "ForConditionalGeneration", **T5, tie_word_embeddings=scaled)
    model.save_pretrained(tmp_path)
    loaded = agrees(tmp_path, model)
    assert loaded.head is not None
    assert loaded.head.scale == (8**-0.5 if scaled and family == "t5" else None)
    assert not loaded.config.tie_head


def test_t5_1_1_as_it_was_first_published(tmp_path: Path) -> None:
    """No key for the scale or the activation, copies of the shared table, and a table that was never used."""
    config = {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    model = untied("T5ForConditionalGeneration", **config)
    model.save_pretrained(tmp_path)
    absent = dict.fromkeys(("scale_decoder_outputs", "dense_act_fn", "is_gated_act", "dtype", "layer_norm_epsilon"))
    copies = {f"{stack}.embed_tokens.weight": model.shared.weight.detach() for stack in ("encoder", "decoder")}
    relic = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": torch.zeros(8, 2)}
    rewritten(tmp_path, copies | relic, **absent, tie_word_embeddings=False, n_positions=77)
    loaded = agrees(tmp_path, model)
    assert loaded.config.max_positions == 77
    assert loaded.head is not None
    assert loaded.head.scale is None
    assert not loaded.extra


@pytest.mark.parametrize("architecture", ["BartForConditionalGeneration", "MarianMTModel", "M2M100ForConditionalGeneration"])
@pytest.mark.parametrize("said", [None, False])
def test_an_output_matrix_of_its_own_beside_one_shared_table(architecture: str, said: bool | None, tmp_path: Path) -> None:
    """Older files hold no copies of the table then, and need not say that the matrix is not tied; newer ones must."""
    model = untied(architecture, **(MARIAN if architecture == "MarianMTModel" else BART))
    model.save_pretrained(tmp_path)
    before = rewritten(tmp_path, {}, tie_word_embeddings=said)
    assert [name for name in before if "embed_tokens" in name or "shared" in name] == ["model.shared.weight"]
    loaded = agrees(tmp_path, model)
    assert loaded.config.share_embeddings
    assert not loaded.config.tie_head
    after = read_safetensors(tmp_path / "export/model.safetensors")
    copies = {f"model.{stack}.embed_tokens.weight" for stack in ("encoder", "decoder")}
    assert after.keys() - before.keys() == copies
    assert all(torch.equal(after[name], before["model.shared.weight"]) for name in copies)


def test_copies_of_the_shared_table_are_one(tmp_path: Path) -> None:
    model = lively("M2M100ForConditionalGeneration", **BART)
    model.save_pretrained(tmp_path)
    before = read_safetensors(tmp_path / "model.safetensors")
    copies = {f"model.{stack}.embed_tokens.weight": model.model.shared.weight.detach() for stack in ("encoder", "decoder")}
    relics = {"model.encoder.embed_positions.weights": torch.zeros(16, 8), "model.decoder.version": torch.ones(1)}
    rewritten(tmp_path, copies | relics | {"lm_head.weight": model.lm_head.weight.detach()})
    loaded = agrees(tmp_path, model)
    assert loaded.config.share_embeddings
    assert loaded.config.tie_head
    assert read_safetensors(tmp_path / "export/model.safetensors").keys() == before.keys()


# ---- what a classifier does ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["T5ForSequenceClassification", "BartForSequenceClassification"])
def test_ragged_texts_are_classified_as_theirs_classifies_each(architecture: str, tmp_path: Path) -> None:
    model = lively(architecture, num_labels=3, **(T5 if architecture.startswith("T5") else BART))
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    batch = texts(model)
    rows = [ids[: int(n)].tolist() for ids, n in zip(batch["inputs"], batch["attention_mask"].sum(1), strict=True)]
    found = infer(
        filled(loaded.config, loaded.head, loaded.tensors),
        Listed([{"input_ids": row} for row in rows]),
        tokens=8,
        dtype=torch.float32,
    )
    with torch.inference_mode():
        expected = torch.cat([model(torch.tensor([row])).logits for row in rows])
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=0)


# ---- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "config", "change", "message"),
    [
        ("BartForCausalLM", BART, {}, "key 'is_decoder' is True\n  allowed: False"),
        ("T5Model", T5, {"feed_forward_proj": "gated"}, "'gated' is not one of gated-gelu, gelu, "),
        ("T5Model", T5, {"feed_forward_proj": ["relu"]}, "'feed_forward_proj': unhashable"),
        ("T5Model", T5, {"dense_act_fn": "silu"}, "'relu' and dense_act_fn='silu' contradict each other"),
        ("T5Model", T5, {"d_model": 0}, "key 'd_model' is 0"),
        ("BartModel", BART, {"decoder_start_token_id": 20}, "decoder_start_token_id=20 is not below vocab_size=20"),
        ("MarianModel", MARIAN, {"decoder_vocab_size": 21}, "decoder_vocab_size=21 must be vocab_size=20"),
    ],
)
def test_what_is_refused(
    architecture: str, config: dict[str, Any], change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    lively(architecture, **config).save_pretrained(tmp_path)
    rewritten(tmp_path, {}, **change)
    with pytest.raises(ConfigError, match=message):
        load(tmp_path)
