"""ALBERT, ELECTRA, DeBERTa-v2 and ModernBERT: spellings of old and new files, and what is refused."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.checkpoints.families import FAMILIES, Description
from regard.checkpoints.families.family import resolved
from regard.checkpoints.rules import apply
from regard.errors import ConfigError
from regard.models.config import ConvolutionConfig, DisentangledConfig, HeadConfig, ModelConfig

SIZES: dict[str, Any] = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
    "pad_token_id": 0,
}
DISTANCES = {"relative_attention": True, "pos_att_type": "c2p|p2c", "position_buckets": 6}


def read(name: str, head: str | None = None, **changes: Any) -> Description:
    """As the class that is called so or, with head=None, the one without an output layer; "absent" removes a key."""
    family = FAMILIES[name]
    values = {key: value for key, value in {**SIZES, **changes}.items() if value != "absent"}
    architecture = family.base if head is None else family.architectures[head]
    return family.read(values, architecture, None if head is None else 20, where="config.json")


def written(name: str, config: ModelConfig, original: dict[str, Any]) -> dict[str, Any]:
    """The keys that differ from the original's."""
    family = FAMILIES[name]
    result = family.write(Description(config, None, None), original, architecture=family.base, where="the model")
    return {key: value for key, value in result.items() if value != original.get(key)}


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("albert", {"inner_group_num": 2}, "key 'inner_group_num' is 2\n  allowed: 1"),
        ("albert", {"num_hidden_groups": 3}, "num_hidden_groups=3 does not divide num_hidden_layers=4"),
        ("electra", {"embedding_size": 0}, "key 'embedding_size' is 0"),
        ("electra", {"hidden_size": "absent"}, "missing key 'hidden_size'"),
        ("deberta-v2", {"pos_att_type": ["c2p"]}, "pos_att_type names c2p, and relative_attention is false"),
        ("deberta-v2", {"relative_attention": True}, "key 'pos_att_type' is ()"),
        ("deberta-v2", {**DISTANCES, "position_buckets": 2}, "key 'position_buckets' is 2"),
        ("deberta-v2", {**DISTANCES, "share_att_key": 1}, "key 'share_att_key' is 1"),
        (
            "deberta-v2",
            {**DISTANCES, "max_relative_positions": 4},
            "half of position_buckets=6 must be below",
        ),
        ("deberta-v2", {**DISTANCES, "max_relative_positions": "4"}, "'relative_attention': "),
        ("deberta-v2", {"conv_kernel_size": 4}, "conv_kernel_size=4 must be odd"),
        ("deberta-v2", {"conv_kernel_size": 3, "conv_groups": 0}, "key 'conv_groups' is 0"),
        ("deberta-v2", {"conv_kernel_size": 3, "conv_act": "mish"}, "conv_act is 'mish', allowed: gelu, gelu_new"),
        ("deberta-v2", {"conv_kernel_size": 3, "conv_groups": 3}, "groups=3 must divide hidden_size=8"),
        ("modernbert", {"layer_types": ["full_attention"]}, "layer_types is to name 4 layers"),
        ("modernbert", {"layer_types": 4 * ["chunked"]}, "each 'full_attention' or 'sliding_attention'"),
        ("modernbert", {"num_hidden_layers": "absent"}, "num_hidden_layers is to be from 1 to 10000"),
        ("modernbert", {"num_hidden_layers": 10**12}, "num_hidden_layers is to be from 1 to 10000"),
        ("modernbert", {"global_attn_every_n_layers": 0}, "global_attn_every_n_layers is to be at least 1"),
        ("modernbert", {"local_attention": 1}, "key 'local_attention' is 0"),
        ("modernbert", {"local_attention": "128"}, "'local_attention': unsupported operand"),
        ("modernbert", {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "rope_type is 'yarn'"),
        ("modernbert", {"rope_scaling": {"type": "linear"}}, "key 'rope_scaling' is {'type': 'linear'}"),
    ],
)
def test_what_regard_does_not_have_is_named_in_their_words(name: str, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(name, **changes)
    assert says in str(caught.value)
    assert "config.json" in str(caught.value)


NAMES = ("albert", "electra", "deberta-v2", "modernbert")
WHOLE = {
    **SIZES,
    **DISTANCES,
    "embedding_size": 6,
    "conv_kernel_size": 3,
    "layer_types": ["full_attention", "sliding_attention"] * 2,
    "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}},
}
NAMED = sorted({key for name in NAMES for each in FAMILIES[name].keys for key in each.names.values()} | WHOLE.keys())
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from([*WHOLE.values()])
keys = st.sampled_from(NAMED) | st.text(max_size=4)
anything = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=4
)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=200)
@given(changes=st.dictionaries(st.sampled_from(NAMED), anything, max_size=3))
def test_whatever_a_key_says_it_is_read_or_refused(name: str, changes: dict[str, Any]) -> None:
    family = FAMILIES[name]
    try:
        description = family.read({**WHOLE, **changes}, family.base, None, where="config.json")
    except ConfigError as error:
        assert all(problem.where == "config.json" for problem in error.problems)
    else:
        again = family.write(description, {}, architecture=family.base, where="")
        meant, came = (
            resolved(each.config, None) for each in (description, family.read(again, family.base, None, where=""))
        )
        assert came == meant


def test_a_summary_of_another_kind_is_refused() -> None:
    for changes in ({"summary_type": "mean"}, {"summary_use_proj": False}, {"summary_activation": "mish"}):
        with pytest.raises(ConfigError, match=f"key {next(iter(changes))!r}"):
            read("electra", "ElectraForMultipleChoice", **changes)
        read("electra", "ElectraForSequenceClassification", **changes)


def test_embeddings_are_projected_where_theirs_are() -> None:
    assert read("albert", embedding_size=8).config.d_embedding == 8
    assert read("electra", embedding_size=8).config.d_embedding is None
    assert read("electra").config.d_embedding == 128
    assert read("deberta-v2").config.d_embedding is None
    assert read("deberta-v2", embedding_size=6).config.d_embedding == 6
    config = read("electra", embedding_size=6).config
    original = {**SIZES, "embedding_size": 6}
    assert written("electra", config.model_copy(update={"d_embedding": None}), original)["embedding_size"] == 8
    with pytest.raises(ConfigError, match="d_embedding is 8"):  # there it is no projection
        written("electra", config.model_copy(update={"d_embedding": 8}), original)


def test_distances_are_said_in_many_ways() -> None:
    whole = DisentangledConfig(distance=12, buckets=6, terms=("c2p", "p2c"), shared=False, norm=False)
    assert read("deberta-v2", **DISTANCES).config.disentangled == whole
    for spelling in ("P2C | c2p", ["p2c", "c2p"], "p2p|c2p|p2c"):
        assert read("deberta-v2", **DISTANCES | {"pos_att_type": spelling}).config.disentangled == whole
    changes = {"position_buckets": -1, "max_relative_positions": 5, "norm_rel_ebd": "none|layer_norm", "share_att_key": True}
    exact = read("deberta-v2", **DISTANCES | changes).config
    assert exact.disentangled == DisentangledConfig(distance=5, shared=True)
    assert read("deberta-v2", relative_attention=False).config.disentangled is None

    config = read("deberta-v2", **DISTANCES).config
    changed = config.model_copy(
        update={"disentangled": exact.disentangled, "convolution": ConvolutionConfig(kernel=3, activation="gelu")}
    )
    keys = written("deberta-v2", changed, {**SIZES, **DISTANCES})
    assert keys.pop("architectures") == ["DebertaV2Model"]
    assert keys == {
        "model_type": "deberta-v2",
        "max_relative_positions": 5,
        "position_buckets": -1,
        "pos_att_type": ["c2p", "p2c"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "conv_kernel_size": 3,
        "conv_groups": 1,
        "conv_act": "gelu",
    }
    plain = config.model_copy(update={"disentangled": None})
    keys = written("deberta-v2", plain, {**SIZES, **DISTANCES})
    assert (keys["relative_attention"], keys.get("pos_att_type")) == (False, None)


def test_the_newer_head_over_words_is_tied_whatever_the_file_says() -> None:
    for changes, tied in (({}, True), ({"tie_word_embeddings": False}, False)):
        assert read("deberta-v2", **changes).config.tie_head == tied
        assert read("deberta-v2", legacy=False, **changes).config.tie_head


@pytest.mark.parametrize("legacy", [True, False, None])
def test_a_published_deberta_is_read_and_written_so_that_theirs_finds_the_head(legacy: bool | None) -> None:
    family = FAMILIES["deberta-v2"]
    config = {**SIZES, "position_biased_input": False, **({} if legacy is None else {"legacy": legacy})}
    head = ("dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias", "bias")
    body = ("embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight", "embeddings.LayerNorm.weight")
    names = [f"deberta.{name}" for name in body] + [f"lm_predictions.lm_head.{name}" for name in head]
    theirs: dict[str, Tensor] = {name: torch.full((2,), float(i)) for i, name in enumerate(names)}
    theirs["mask_predictions.dense.weight"] = torch.zeros(2)
    architecture, entries = family.recognise(config, list(theirs))
    assert architecture.name == "DebertaV2ForMaskedLM"
    ours = apply(theirs, entries)
    assert torch.equal(ours["head.norm.bias"], theirs["lm_predictions.lm_head.LayerNorm.bias"])
    assert {"extra.embeddings.position_embeddings.weight", "extra.mask_predictions.dense.weight"} < ours.keys()
    back = apply(ours, architecture.entries(family.prefix, config), reverse=True)
    if legacy is False:
        assert back.keys() == theirs.keys()
    else:
        moved = {"dense": "transform.dense", "LayerNorm": "transform.LayerNorm"}
        for name in head:
            part, dot, kind = name.partition(".")
            there = f"cls.predictions.{moved.get(part, part)}{dot}{kind}"
            assert torch.equal(back[there], theirs[f"lm_predictions.lm_head.{name}"])


def test_old_and_new_modernberts_say_the_same() -> None:
    old = read("modernbert", global_attn_every_n_layers=2, global_rope_theta=5e4, local_rope_theta=2e3).config
    full, sliding = "full_attention", "sliding_attention"
    new = read(
        "modernbert",
        layer_types=[full, sliding, full, sliding],
        rope_parameters={full: {"rope_type": "default", "rope_theta": 5e4}, sliding: {"rope_theta": 2e3}},
    ).config
    assert old == new
    assert (old.local_layers, old.window, old.rotary_base, old.local_rotary_base) == ((1, 3), 64, 5e4, 2e3)
    plain = read("modernbert").config
    assert (plain.local_layers, plain.rotary_base, plain.local_rotary_base) == ((1, 2), 160_000.0, 10_000.0)
    assert read("modernbert", local_rope_theta=None).config.local_rotary_base is None

    original = {**SIZES, "global_rope_theta": 5e4, "global_attn_every_n_layers": 2}
    config = read("modernbert", **original).config
    assert written("modernbert", config, original).keys() == {"model_type", "architectures"}
    changed = config.model_copy(update={"local_layers": (0,), "local_rotary_base": None, "window": 5})
    keys = written("modernbert", changed, original)
    assert keys["layer_types"] == [sliding, full, full, full]
    assert keys["rope_parameters"][sliding]["rope_theta"] == 5e4
    assert keys["local_attention"] == 10


def test_their_heads_are_ours() -> None:
    assert read("albert", "AlbertForMaskedLM", embedding_size=6).head == HeadConfig(
        over="vocabulary", d_dense=6, activation="gelu-tanh", norm=True, n_outputs=20, dropout=0.0
    )
    assert read("electra", "ElectraForPreTraining").head == HeadConfig(
        over="tokens", activation="gelu", n_outputs=20, dropout=0.0
    )
    assert read("deberta-v2", "DebertaV2ForSequenceClassification", cls_dropout=0.3).head == HeadConfig(
        activation="gelu", n_outputs=20, dropout=0.3
    )
    assert read("modernbert", "ModernBertForMultipleChoice", classifier_pooling="mean").head == HeadConfig(
        pool="mean", dense_bias=False, activation="gelu", norm=True, n_outputs=20, dropout=0.0
    )
