"""Tables of names: both directions, exactly one rule a tensor, and what is said when that fails."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from regard.checkpoints.rules import (
    Alias,
    Either,
    Entry,
    Rule,
    Skip,
    Split,
    affine,
    apply,
    bound,
    keep,
    norm,
    their_names,
    under,
    unknown,
    word_bias,
)
from regard.errors import CheckpointError

TABLE: tuple[Entry, ...] = (
    Rule("wte.weight", "embeddings.tokens.weight"),
    *affine("h.{}.mlp", "layers.{}.feedforward.up_proj", transpose=True),
    *norm("h.{}.ln", "layers.{}.attention_norm"),
    Split("h.{}.attn.weight", ("layers.{}.q", "layers.{}.k", "layers.{}.v"), transpose=True),
    Split("h.{}.gate", ("layers.{}.gate", "layers.{}.up"), dim=1),
    Rule("cls_token", "prefix.0", ones=2),
    Rule("table", "positions.weight", transpose=True, ones=1),
    Skip("h.{}.mask", "a buffer"),
    keep("lm.*"),
)


def theirs(layers: int = 12) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    tensors = {"wte.weight": draw(5, 4), "lm.head.weight": draw(5, 4), "lm.bias": draw(5)}
    tensors |= {"cls_token": draw(1, 1, 4), "table": draw(1, 4, 3)}
    for i in range(layers):
        tensors |= {f"h.{i}.mlp.weight": draw(4, 6), f"h.{i}.mlp.bias": draw(6), f"h.{i}.ln.weight": draw(4)}
        tensors |= {f"h.{i}.ln.bias": draw(4), f"h.{i}.attn.weight": draw(4, 12), f"h.{i}.gate": draw(3, 8)}
    return tensors


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_there_and_back_gives_the_same_tensors():
    there = apply(theirs(), TABLE)
    assert there["layers.11.feedforward.up_proj.weight"].shape == (6, 4)
    assert torch.equal(there["layers.3.k"], theirs()["h.3.attn.weight"][:, 4:8].t())
    assert torch.equal(there["layers.3.up"], theirs()["h.3.gate"][:, 4:])
    assert torch.equal(there["extra.lm.bias"], theirs()["lm.bias"])
    assert torch.equal(there["prefix.0"], theirs()["cls_token"][0, 0])
    assert torch.equal(there["positions.weight"], theirs()["table"][0].t())
    assert same(apply(there, TABLE, reverse=True), theirs())


@given(layer=st.integers(0, 999_999), rest=st.text(min_size=1))
def test_wildcards_keep_what_they_stand_for(layer: int, rest: str):
    tensors = {f"h.{layer}.ln.weight": torch.zeros(1), f"lm.{rest}": torch.ones(1)}
    there = apply(tensors, TABLE)
    assert there.keys() == {f"layers.{layer}.attention_norm.weight", f"extra.lm.{rest}"}
    assert same(apply(there, TABLE, reverse=True), tensors)


def test_old_spellings_are_read_and_new_ones_written():
    there = apply({"h.0.ln.gamma": torch.ones(2), "h.0.ln.beta": torch.zeros(2)}, TABLE)
    assert same(apply(there, TABLE, reverse=True), {"h.0.ln.weight": torch.ones(2), "h.0.ln.bias": torch.zeros(2)})


def test_skipped_tensors_go_nowhere():
    assert apply({"h.0.mask": torch.ones(2)}, TABLE) == {}


def test_a_prefix_goes_before_every_spelling():
    table = under("model.", TABLE)
    there = apply(
        {"model.h.0.ln.gamma": torch.ones(2), "model.lm.bias": torch.ones(1), "model.h.0.mask": torch.ones(1)}, table
    )
    assert there.keys() == {"layers.0.attention_norm.weight", "extra.lm.bias"}
    assert apply(there, table, reverse=True).keys() == {"model.h.0.ln.weight", "model.lm.bias"}


def test_names_for_messages():
    assert their_names(TABLE)("layers.7.v") == "h.7.attn.weight"
    assert their_names(TABLE)("layers.7.feedforward.up_proj.bias") == "h.7.mlp.bias"
    assert their_names(TABLE)("strange") == "strange"
    assert unknown(["h.0.mask", "h.00.ln.weight", "h.x.ln.weight", "lm.", "lm.x"], TABLE) == [
        "h.00.ln.weight",
        "h.x.ln.weight",
        "lm.",
    ]


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"h.3.mlp.weigth": (4, 6)}, "no rule knows this tensor"),
        ({"h.3.mlp.weigth": (4, 6)}, "did you mean 'h.3.mlp.weight'?"),
        ({"h.0.ln.weight": (4,), "h.0.ln.gamma": (4,)}, "two tensors mean 'layers.0.attention_norm.weight'"),
        ({"h.0.mlp.weight": (4,)}, "shape (4,), but a matrix is expected"),
        ({"h.0.attn.weight": (4, 7)}, "shape (7, 4) cannot be cut in 3 along dimension 0"),
        ({"h.0.gate": (4,)}, "shape (4,) cannot be cut in 2 along dimension 1"),
        ({"cls_token": (1, 2, 4)}, "shape (1, 2, 4), but the first 2 dimensions are to be of size 1"),
        ({"cls_token": (1,)}, "shape (1,), but the first 2 dimensions are to be of size 1"),
    ],
)
def test_what_no_rule_can_read_is_named(tensors: dict[str, tuple[int, ...]], says: str):
    with pytest.raises(CheckpointError) as caught:
        apply({name: torch.zeros(shape) for name, shape in tensors.items()}, TABLE, where="x.safetensors")
    assert says in str(caught.value)
    assert any(f"x.safetensors, tensor {name!r}" in str(caught.value) for name in tensors)


def test_all_unknown_tensors_are_named_at_once():
    with pytest.raises(CheckpointError) as caught:
        apply({"one": torch.zeros(1), "wte.weight": torch.zeros(1), "two": torch.zeros(1)}, TABLE)
    assert [problem.where for problem in caught.value.problems] == ["tensor 'one'", "tensor 'two'"]


def test_a_name_that_two_rules_know_is_refused():
    twice = (Rule("a.{}", "x.{}"), Rule("a.*", "y.*"))
    with pytest.raises(CheckpointError, match="2 rules know this tensor"):
        apply({"a.1": torch.zeros(1)}, twice)
    assert unknown(["a.1", "a.b"], twice) == ["a.1"]


def test_what_cannot_be_written_back_is_named():
    with pytest.raises(CheckpointError) as caught:
        apply({"layers.0.q": torch.zeros(1, 1), "new.weight": torch.zeros(1)}, TABLE, reverse=True)
    assert "tensor 'new.weight': no rule knows this tensor" in str(caught.value)
    assert "tensor 'h.0.attn.weight': needs layers.0.k, layers.0.v too" in str(caught.value)


def test_entries_may_depend_on_a_key_of_config():
    packed = Split("qkv", ("q", "k"), per="heads")
    rules = (Either("pre", true=(Rule("norm", "last"), packed), false=(Rule("norm", "first"),)), keep("rest"))
    assert bound(rules, {"pre": True, "heads": 3}) == (Rule("norm", "last"), replace(packed, groups=3), keep("rest"))
    for config in ({}, {"pre": False}, {"pre": None}, {"pre": 1}, {"pre": []}):
        assert bound(rules, config) == (Rule("norm", "first"), keep("rest"))


def test_a_copy_is_read_where_the_tensor_itself_is_missing():
    one, two = torch.ones(2), torch.zeros(2)
    table = (Rule("a", "x"), Alias("b", "x"))
    assert same(apply({"b": two}, table), {"x": two})
    assert same(apply({"b": two, "a": one}, table), {"x": one})
    kept = (Rule("a", "x"), Alias("b", "x", kept=True))
    assert same(apply({"b": two}, kept), {"x": two})
    both = apply({"b": two, "a": one}, kept)
    assert same(both, {"x": one, "extra.b": two})
    assert same(apply(both, kept, reverse=True), {"b": two, "a": one})
    assert same(apply({"x": one}, kept, reverse=True), {"a": one})


@pytest.mark.parametrize("absent", [True, False])
def test_entries_may_depend_on_a_key(absent: bool):
    inner = Either("deep", true=(Rule("c", "z"),), false=())
    table = (Rule("a", "x"), Either("key", true=(Rule("b", "y"), inner), false=(keep("b"),), absent=absent))
    assert [entry.theirs for entry in bound(table, {"key": True, "deep": True})] == ["a", "b", "c"]
    assert [entry.targets for entry in bound(table, {"key": False, "deep": True})] == [("x",), ("extra.b",)]
    assert bound(table, {}) == bound(table, {"key": absent}) == bound(table, {"key": None})
    assert [entry.groups for entry in bound((Split("q", ("k", "v"), per="heads"),), {"heads": 3})] == [3]


def test_an_output_bias_is_one_or_two():
    outer, inner = torch.ones(2), torch.zeros(2)
    tied, untied = (bound([word_bias("o", "i")], {"tie_word_embeddings": tie}) for tie in (True, False))
    assert bound([word_bias("o", "i")], {}) == tied
    assert same(apply({"o": outer}, tied), {"head.out.bias": outer})
    assert same(apply({"head.out.bias": outer}, tied, reverse=True), {"o": outer})
    both = apply({"o": outer, "i": inner}, untied)
    assert same(both, {"head.out.bias": inner, "extra.o": outer})
    assert same(apply(both, untied, reverse=True), {"o": outer, "i": inner})
    assert same(apply({"o": outer}, untied), {"head.out.bias": outer})
