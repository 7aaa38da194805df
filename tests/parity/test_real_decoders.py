"""Real decoder checkpoints against transformers in float32: hidden states of every layer, logits, and 64 greedy tokens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from regard.checkpoints import export_hf, load
from regard.checkpoints.contract import check_round_trip
from regard.layers.cache import Cache
from regard.layers.trace import Trace
from regard.models.build import filled
from regard.models.model import Model

pytestmark = pytest.mark.real

CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = {
    "smollm2-135m-instruct": ("def fibonacci(n):", CHAT.format("Why is the sky blue?")),
    "minimind2-small-zh": ("中国的首都是", CHAT.format("请写一篇关于春天的短文。")),
}
NEW = 64


@dataclass(frozen=True)
class Both:
    """A checkpoint as both libraries read it, and the ids of its prompts."""

    folder: Path
    ours: Model
    theirs: Any
    ids: list[Tensor]
    """(1, tokens) a prompt."""
    stop: int
    """The token that ends a text."""


@pytest.fixture(scope="module", params=PROMPTS)
def both(request: pytest.FixtureRequest, real: Callable[[str], Path]) -> Iterator[Both]:
    folder = real(request.param)
    loaded = load(folder)
    assert loaded.tokenizer is not None and loaded.task is not None and loaded.head is not None
    assert loaded.task["task"] == "text-generation"
    yield Both(
        folder,
        ours=filled(loaded.config, loaded.head, loaded.tensors),
        theirs=transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(),
        ids=[torch.tensor([row]) for row in loaded.tokenizer.ids(list(PROMPTS[request.param]))[0]],
        stop=loaded.task["generation"]["eos_token_id"],
    )


def close(ours: Tensor, theirs: Tensor) -> None:
    """Within 1e-4 of each value; of small ones beside others, within 1e-4 of the usual size."""
    usual = theirs.abs().median().item()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * usual)


def states(both: Both, trace: Trace) -> list[Tensor]:
    """As theirs tells them: embeddings, all layers but the last, and the last after the norm."""
    assert both.ours.decoder is not None
    layers = [trace.values[f"decoder.layers.{i}"] for i in range(both.ours.decoder.n_layers - 1)]
    return [trace.values["decoder.embeddings"], *layers, trace.values["decoder"]]


@torch.inference_mode()
def test_hidden_states_of_every_layer_and_logits(both: Both) -> None:
    for ids in both.ids:
        trace = Trace(["decoder", "decoder.embeddings", "decoder.layers.*"])
        logits = both.ours(ids, trace=trace)
        expected = both.theirs(ids, output_hidden_states=True)
        for ours, theirs in zip(states(both, trace), expected.hidden_states, strict=True):
            close(ours, theirs)
        close(logits, expected.logits)
        close(both.ours(ids), expected.logits)


@torch.inference_mode()
def test_prompts_of_different_lengths_in_one_batch(both: Both) -> None:
    width = max(ids.shape[1] for ids in both.ids)
    lengths = torch.tensor([[ids.shape[1]] for ids in both.ids])
    assert lengths.unique().numel() > 1
    real = torch.arange(width) >= width - lengths  # padded on the left, as for generation
    batch = torch.zeros_like(real, dtype=torch.int64).masked_scatter(real, torch.cat(both.ids, 1))
    together = both.ours(batch, attention_mask=real)
    for row, ids in enumerate(both.ids):
        close(together[row, real[row]], both.theirs(ids).logits[0])


@torch.inference_mode()
def test_64_greedy_tokens(both: Both) -> None:
    ids = both.ids[-1]
    generated = both.theirs.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW)
    expected = generated[0, ids.shape[1] :].tolist()
    assert len(expected) == NEW
    assert greedy(both, ids) == expected


def greedy(both: Both, ids: Tensor) -> list[int]:
    """Ids that follow, each the likeliest; what was read stays in a cache."""
    assert both.ours.decoder is not None
    cache, found = Cache(both.ours.decoder.n_layers), list[int]()
    while len(found) < NEW and both.stop not in found:
        token = both.ours(ids, cache=cache)[0, -1].argmax()
        ids = token.view(1, 1)
        found.append(int(token))
    return found


def test_export_gives_the_same_bits_back(both: Both, tmp_path: Path) -> None:
    loaded = load(both.folder, dtype=None)
    assert {tensor.dtype for tensor in loaded.tensors.values()} == {torch.float16}
    export_hf(loaded, tmp_path)
    check_round_trip(both.folder, tmp_path)
