"""Decoder families against transformers: every class over tiny random models, every spelling of a config.json."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.parity.reference import random_model, token_batch
from torch import Tensor

from regard.checkpoints import Loaded, export_hf, load
from regard.checkpoints.contract import check_answer, check_family
from regard.checkpoints.families import FAMILIES, Description
from regard.checkpoints.reference import answer_of, reference
from regard.errors import ConfigError
from regard.models.build import build, filled
from regard.models.config import HeadConfig, ModelConfig

VOCABULARY, PAD = 20, 0
TOKENS = 9

GPT2 = {"n_embd": 8, "n_head": 2, "n_layer": 3, "n_positions": 14}
NEOX = {
    "hidden_size": 16,
    "intermediate_size": 12,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "max_position_embeddings": 14,
}
LLAMA = {**NEOX, "num_attention_heads": 4, "num_key_value_heads": 2}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 12,
}
YARN = {"rope_type": "yarn", "rope_theta": 900.0, "factor": 4.0, "original_max_position_embeddings": 7}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
ONE_HEAD = {"num_attention_heads": 1, "num_key_value_heads": 1, "num_hidden_layers": 1, "tie_word_embeddings": True}

CONFIGS: Mapping[str, list[dict[str, Any]]] = {
    "gpt2": [
        GPT2,
        {**GPT2, "n_head": 1, "n_inner": 12, "tie_word_embeddings": False, "scale_attn_weights": False},
        {**GPT2, "n_layer": 1, "n_head": 4, "activation_function": "relu", "layer_norm_epsilon": 1e-3},
    ],
    "gpt_neox": [
        NEOX,
        {
            **NEOX,
            "num_attention_heads": 1,
            "use_parallel_residual": False,
            "attention_bias": False,
            "rope_parameters": LINEAR,
        },
        {**NEOX, "num_attention_heads": 4, "num_hidden_layers": 1, "tie_word_embeddings": True, "hidden_act": "gelu_fast"}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0, "partial_rotary_factor": 1.0}},
    ],
    "llama": [
        LLAMA,
        {**LLAMA, **ONE_HEAD, "head_dim": 6, "attention_bias": True, "mlp_bias": True, "rope_parameters": LLAMA3},
        {**LLAMA, "num_key_value_heads": 1, "rms_norm_eps": 1e-2, "hidden_act": "gelu", "rope_parameters": YARN},
        {**LLAMA, "num_key_value_heads": None, "head_dim": 2, "rope_parameters": LINEAR, "token_classification_bias": False},
    ],
    "mistral": [
        {**LLAMA, "sliding_window": 4},
        {**LLAMA, **ONE_HEAD, "head_dim": 6, "sliding_window": None},
        {**LLAMA, "num_key_value_heads": 1, "sliding_window": 2, "rope_parameters": {**YARN, "attention_factor": 1.5}},
    ],
    "qwen2": [
        {**LLAMA, "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1},
        {**LLAMA, **ONE_HEAD, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 0},
        {**LLAMA, "num_key_value_heads": 4, "sliding_window": 3},
    ],
    "qwen3": [
        {**LLAMA, "head_dim": 6, "use_sliding_window": True, "sliding_window": 3}
        | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
        {**LLAMA, **ONE_HEAD, "head_dim": 10, "attention_bias": True},
        {**LLAMA, "num_key_value_heads": 1, "head_dim": 4}
        | {"rope_parameters": {**YARN, "mscale": 0.7, "mscale_all_dim": 0.4, "beta_fast": 3, "truncate": False}},
    ],
}
"""At least three odd ones a family: one head, grouped heads, other biases, windows shorter than the text, stretches."""

CASES = [
    (family, architecture, number)
    for family, configs in CONFIGS.items()
    for architecture in FAMILIES[family].architectures
    for number in range(len(configs))
]


def tiny(architecture: str, **config: Any) -> Any:
    config = copy.deepcopy(config)  # theirs writes into what it is given
    return random_model(architecture, vocab_size=VOCABULARY, pad_token_id=PAD, bos_token_id=1, eos_token_id=2, **config)


def padded(**settings: Any) -> dict[str, Tensor]:
    """Their classes find the last token of a row by the ids: padding has to be of padding tokens."""
    batch = token_batch(VOCABULARY, tokens=TOKENS, **settings)
    return {**batch, "inputs": batch["inputs"].where(batch["attention_mask"].bool(), PAD)}


@pytest.mark.parametrize(("family", "architecture", "number"), CASES)
def test_the_family_keeps_its_contract(family: str, architecture: str, number: int, tmp_path: Path) -> None:
    table = FAMILIES[family].architectures[architecture]
    labels = 2 if table.task == "question-answering" else 3
    model = tiny(architecture, num_labels=labels, **CONFIGS[family][number])
    loaded = check_family(reference(model, padded()), tmp_path)
    assert (None if loaded.task is None else loaded.task["task"]) == table.task


@torch.inference_mode()
def test_a_dynamic_stretch_goes_by_the_length_of_each_row(tmp_path: Path) -> None:
    """Theirs goes by the longest row of a batch: what is compared is a row alone."""
    model = tiny(
        "LlamaForCausalLM", **LLAMA | {"max_position_embeddings": 4, "rope_parameters": {**LINEAR, "rope_type": "dynamic"}}
    )
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    ours, answer, batch = filled(loaded.config, loaded.head, loaded.tensors), answer_of(model), padded()
    together = ours(batch["inputs"], attention_mask=batch["attention_mask"])
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        alone = {"inputs": batch["inputs"][row : row + 1, :length]}
        model.model.rotary_emb = type(model.model.rotary_emb)(model.config)  # theirs remembers longer rows
        expected = answer(alone)
        check_answer(ours, alone, expected)
        assert expected.output is not None
        torch.testing.assert_close(together[row : row + 1, :length], expected.output, atol=1e-5, rtol=0)


# ---- what older and other files hold -------------------------------------------------------------------------------------


def resave(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Change the tensors of a folder of theirs."""
    file = folder / "model.safetensors"
    save_file(
        {name: tensor.contiguous() for name, tensor in change(load_file(file)).items()}, file, metadata={"format": "pt"}
    )


def with_buffers(names: list[str]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {**tensors, **{name: torch.ones(1, 1, 3, 3) for name in names}}


def renamed(old: str, new: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {name.replace(old, new): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("architecture", "config", "change"),
    [
        ("GPT2LMHeadModel", GPT2, renamed("transformer.", "")),  # as the first files on the hub are
        ("GPT2LMHeadModel", GPT2, with_buffers(["transformer.h.1.attn.bias", "transformer.h.1.attn.masked_bias"])),
        ("GPT2Model", GPT2, with_buffers(["h.0.attn.bias"])),
        ("GPTNeoXForCausalLM", NEOX, renamed("embed_out.", "lm_head.")),
        (
            "GPTNeoXForCausalLM",
            NEOX,
            with_buffers([f"gpt_neox.layers.2.attention.{n}" for n in ("bias", "masked_bias", "rotary_emb.inv_freq")]),
        ),
        ("LlamaForCausalLM", LLAMA, with_buffers(["model.layers.0.self_attn.rotary_emb.inv_freq"])),
        (
            "LlamaForCausalLM",
            {**LLAMA, "tie_word_embeddings": True},
            lambda tensors: {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()},
        ),
    ],
)
def test_files_as_they_were_once_saved(
    architecture: str, config: dict[str, Any], change: Callable[[dict[str, Tensor]], dict[str, Tensor]], tmp_path: Path
) -> None:
    tiny(architecture, **config).save_pretrained(tmp_path)
    before = load(tmp_path)
    resave(tmp_path, change)
    after = load(tmp_path)
    assert (after.config, after.head, after.origin) == (before.config, before.head, before.origin)
    assert after.tensors.keys() == before.tensors.keys()
    assert all(torch.equal(after.tensors[name], tensor) for name, tensor in before.tensors.items())
    assert after.extra == {}


def test_a_head_that_says_it_is_tied_and_is_not(tmp_path: Path) -> None:
    model = tiny("LlamaForCausalLM", **LLAMA)
    model.save_pretrained(tmp_path / "theirs")
    theirs = json.loads((tmp_path / "theirs/config.json").read_text(encoding="utf-8"))
    (tmp_path / "theirs/config.json").write_text(json.dumps({**theirs, "tie_word_embeddings": True}), encoding="utf-8")
    loaded = load(tmp_path / "theirs")
    assert not loaded.config.tie_head
    export_hf(loaded, tmp_path / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    assert not again.config.tie_word_embeddings


def read(theirs: Mapping[str, Any]) -> ModelConfig:
    """Their config.json in our words, with the sizes that None stands for."""
    family = FAMILIES[theirs["model_type"]]
    config = family.read(theirs, family.base, None, where="config.json").config
    return config.model_copy(update={"d_head": config.head_width, "n_kv_heads": config.kv_heads})


NEEDED = {
    "gpt2": {"vocab_size": 9, "n_embd": 8, "n_layer": 2, "n_head": 2},
    **{
        name: {
            "vocab_size": 9,
            "hidden_size": 32 * 8,
            "intermediate_size": 8,
            "num_hidden_layers": 30,
            "num_attention_heads": 32,
        }
        for name in ("gpt_neox", "llama", "mistral", "qwen2", "qwen3")
    },
}


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("more", [{}, {"use_sliding_window": True}])
def test_absent_keys_mean_what_they_mean_there(name: str, more: dict[str, Any]) -> None:
    said = {**NEEDED[name], **more, "model_type": name}
    whole = transformers.AutoConfig.for_model(**said).to_dict()
    assert read(said) == read(whole)


@pytest.mark.parametrize("name", NEEDED)
def test_no_padding_token_is_id_0(name: str) -> None:
    assert read({**NEEDED[name], "model_type": name, "pad_token_id": None}).pad_id == 0


# ---- rotary positions ----------------------------------------------------------------------------------------------------

OLD = {**NEEDED["llama"], "model_type": "llama", "rope_theta": 700, "max_position_embeddings": 64}
SPELLINGS: list[dict[str, Any]] = [
    {},
    {"rope_scaling": None},
    {"rope_scaling": {"type": "linear", "factor": 4}},
    {"rope_scaling": {"rope_type": "linear", "type": "linear", "factor": 4.0}},
    {"rope_scaling": {"type": "dynamic", "factor": 2.5}},
    {"rope_scaling": {k: v for k, v in LLAMA3.items() if k != "rope_theta"}},
    {"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}},
    {"rope_scaling": {"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 8, "finetuned": True}},
    {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}, "original_max_position_embeddings": 16},
    {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0, "mscale_all_dim": 0.8, "truncate": False}},
    {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "beta_fast": 20, "beta_slow": 2, "attention_factor": 1.25}},
    {"rope_scaling": {"rope_type": "linear", "factor": 3.0}, "rope_parameters": {"rope_type": "default", "rope_theta": 9.0}},
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_older_spelling_of_rotary_positions_is_read_as_there(spelling: dict[str, Any]) -> None:
    theirs = {**OLD, **spelling}
    new = transformers.LlamaConfig.from_dict(json.loads(json.dumps(theirs))).to_dict()
    assert "rope_scaling" not in new
    found, expected = read(theirs), read(new)
    assert found == expected
    assert found.rotary_base == 700


def test_a_share_of_a_head_is_turned_in_neox() -> None:
    old = {**NEEDED["gpt_neox"], "model_type": "gpt_neox"}
    for said in (
        {},
        {"rotary_pct": 0.5, "rotary_emb_base": 300},
        {"rotary_pct": 1.0, "rope_scaling": {"type": "linear", "factor": 2}},
    ):
        new = transformers.GPTNeoXConfig.from_dict({**old, **said}).to_dict()
        assert read({**old, **said}) == read(new)
    assert read(old).d_rotary == 2


STRETCHES: list[dict[str, Any] | None] = [
    None,
    {"kind": "linear", "factor": 2.0},
    {"kind": "dynamic", "factor": 2.0, "original": 64},
    {"kind": "llama3", "factor": 8.0, "original": 16, "low": 2.0, "high": 5.0},
    {"kind": "yarn", "factor": 4.0, "original": 16, "low": 1.0, "high": 32.0, "temperature": 1.25, "whole": False},
    {"kind": "yarn", "factor": 4.0, "original": 16, "low": 1.0, "high": 32.0},
]


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize(
    ("original", "spelled"),
    [
        ({}, {"rope_theta", "rope_scaling"}),
        (OLD, {"rope_theta", "rope_scaling"}),
        ({**OLD, "rope_scaling": {"type": "linear", "factor": 9.0}}, {"rope_theta", "rope_scaling"}),
        ({**OLD, "rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 9.0}}, {"rope_parameters"}),
    ],
)
def test_a_changed_stretch_is_written_in_the_spelling_that_came(
    stretch: dict[str, Any] | None, original: dict[str, Any], spelled: set[str]
) -> None:
    config = read(OLD).model_copy(update={"rotary_base": 800.0})
    config = ModelConfig.model_validate({**config.model_dump(), "stretch": stretch})
    family = FAMILIES["llama"]
    written = family.write(Description(config, None, None), original, architecture=family.base, where="")
    assert {key for key in written if key.startswith("rope_") and written[key] != original.get(key, 0)} == spelled
    assert read(written).stretch == config.stretch
    assert read(written).rotary_base == 800
    if stretch is not None and (scaling := written.get("rope_scaling")):
        assert ("type" in scaling) == ("type" in (original.get("rope_scaling") or {}))
    there = transformers.LlamaConfig.from_dict(json.loads(json.dumps(written))).to_dict()
    assert read(there).stretch == config.stretch
    again = family.write(Description(config, None, None), written, architecture=family.base, where="")
    assert again == written


@pytest.mark.parametrize("width", range(2, 98, 2))
def test_the_share_that_is_written_gives_the_width_back(width: int) -> None:
    old = {**NEEDED["gpt_neox"], "hidden_size": 32 * 98, "model_type": "gpt_neox"}
    config = read(old).model_copy(update={"d_rotary": width})
    family = FAMILIES["gpt_neox"]
    written = family.write(Description(config, None, None), old, architecture=family.base, where="")
    assert read(written).d_rotary == width
    there = transformers.GPTNeoXConfig.from_dict(written).rope_parameters["partial_rotary_factor"]
    assert int(98 * there) == width


# ---- from scratch --------------------------------------------------------------------------------------------------------

SCRATCH: dict[str, Any] = {
    "kind": "decoder",
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "d_ff": 12,
    "n_layers": 3,
    "n_heads": 4,
    "max_positions": 40,
    "dropout": 0.0,
}
ROTARY = {"positions": "rotary", "norm": "rms", "gated": True, "bias": False, "activation": "silu"}
YARN_OURS = {"kind": "yarn", "factor": 4.0, "original": 10, "low": 1.0, "high": 32.0, "temperature": 1.25}


@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("gpt2", {"activation": "gelu-tanh"}),
        ("gpt_neox", {"positions": "rotary", "d_rotary": 2, "parallel": True, "tie_head": False}),
        ("llama", {**ROTARY, "n_kv_heads": 2, "stretch": YARN_OURS}),
        ("mistral", {**ROTARY, "n_kv_heads": 2, "window": 3}),
        ("qwen2", {**ROTARY, "attention_bias": "qkv", "window": 2}),
        ("qwen3", {**ROTARY, "qk_norm": True, "window": 3, "local_layers": (0, 2), "d_head": 6, "tie_head": False}),
    ],
)
def test_a_model_from_scratch_becomes_one_of_theirs(family: str, config: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = HeadConfig(over="vocabulary", dense=False, bias=False, n_outputs=VOCABULARY, dropout=0.0)
    ours = build(ModelConfig(**SCRATCH | config), head).eval()
    loaded = Loaded(
        config=ours.config,
        head=head,
        tensors=ours.state_dict(),
        tokenizer=None,
        task={"task": "text-generation"},
        source="scratch",
    )
    export_hf(loaded, tmp_path, family=family)
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    ids = padded(rows=1)["inputs"]
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids), theirs.eval()(ids).logits, atol=1e-5, rtol=0)


# ---- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said", "message"),
    [
        ("llama", {"rope_scaling": {"type": "longrope", "factor": 2}}, "key 'rope_scaling.type' is 'longrope'"),
        ("qwen2", {"rope_parameters": {"rope_type": "proportional"}}, "key 'rope_parameters.rope_type' is 'proportional'"),
        ("llama", {"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "not one set of values for all layers"),
        ("llama", {"rope_scaling": [2.0]}, r"\[2.0\] is not one set of values"),
        ("llama", {"rope_scaling": {"type": "linear"}}, "key 'rope_parameters.factor' is None"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 0.5}}, "key 'rope_parameters.factor' is 0.5"),
        ("llama", {"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "low_freq_factor or beta_slow' is None"),
        ("llama", {"partial_rotary_factor": 0.5}, "key 'partial_rotary_factor' is 0.5"),
        ("llama", {"rope_theta": "big"}, "key 'rope_theta' is 'big'"),
        ("llama", {"rope_parameters": {"rope_theta": 0}}, "key 'rope_theta' is 0"),
        ("llama", {"rope_scaling": {"type": "yarn", "factor": 2.0}, "rope_theta": 1}, "above 1"),
        (
            "llama",
            {"head_dim": 2, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
            "needs more than 2 turned features",
        ),
        ("llama", {"quantization_config": {"bits": 4}}, "key 'quantization_config' is"),
        ("mistral", {"sliding_window": 1}, "'sliding_window': 1 is no window"),
        ("mistral", {"sliding_window": "wide"}, "'sliding_window': 'wide' is no window"),
        ("mistral", {"num_attention_heads": 4}, "num_key_value_heads=8 does not divide num_attention_heads=4"),
        ("qwen2", {"layer_types": ["full_attention"]}, "for each of 30 layers"),
        ("qwen2", {"layer_types": ["chunked_attention"] * 30}, "must say 'sliding_attention' or 'full_attention'"),
        ("qwen3", {"layer_types": ["sliding_attention"] * 30}, "say that there is none"),
        ("qwen3", {"use_sliding_window": True, "num_hidden_layers": 10**12}, "key 'num_hidden_layers' is 1000000000000"),
        ("gpt_neox", {"rotary_pct": 1e400}, "cannot convert float infinity"),
        ("gpt_neox", {"num_attention_heads": 0}, "key 'num_attention_heads' is 0"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "key 'scale_attn_by_inverse_layer_idx' is True"),
        ("gpt2", {"add_cross_attention": True}, "key 'add_cross_attention' is True"),
        ("gpt2", {"n_embd": None}, "missing key 'n_embd'"),
    ],
)
def test_what_regard_does_not_have_is_refused(name: str, said: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read({**NEEDED[name], "model_type": name, **said})
