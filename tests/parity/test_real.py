"""Real BERT checkpoints against transformers in float32: hidden states of every layer, pooled states, logits, for texts of
very different lengths, however they share a batch."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from regard.checkpoints import load
from regard.data.batch import Listed, take
from regard.layers.trace import Scope, Trace
from regard.models.build import build
from regard.models.model import Model
from regard.models.stack import Stack
from regard.predictor import load as predictor
from regard.text import Tokenizer

pytestmark = pytest.mark.real

NAMES = ("bert-tiny-question", "m3e-small", "minilm-l6")


@dataclass(frozen=True)
class Both:
    """A checkpoint as both libraries read it, and what theirs makes of each text by itself."""

    folder: Path
    ours: Model
    theirs: Any
    ids: list[list[int]]
    alone: list[Any]
    """Theirs, a text each: `hidden_states`, and `logits` or `pooler_output`."""

    @property
    def stack(self) -> Stack:
        assert self.ours.encoder is not None
        return self.ours.encoder

    def result(self, row: int) -> Tensor:
        """(outputs,): the last that their model computes of a text."""
        found = self.alone[row]
        return (found.logits if "logits" in found else found.pooler_output)[0]


@pytest.fixture(scope="module")
def texts(shared: Path) -> list[str]:
    """Real sentences of both languages, the empty text, and one that is longer than any model holds."""
    english = (shared / "data/sst2/dev.tsv").read_text(encoding="utf-8").splitlines()[1:4]
    with gzip.open(shared / "data/tnews/test.json.gz", "rt", encoding="utf-8") as lines:
        chinese = [json.loads(line)["sentence"] for line, _ in zip(lines, range(2), strict=False)]
    short = [line.split("\t")[0] for line in english] + chinese
    return ["", "不", *short, " ".join(short), " ".join(short * 20)]


@pytest.fixture(scope="module", params=NAMES)
def both(request: pytest.FixtureRequest, real: Callable[[str], Path], texts: list[str]) -> Iterator[Both]:
    folder = real(request.param)
    loaded = load(folder)
    ours = build(loaded.config, loaded.head).eval()
    ours.load_state_dict(loaded.tensors)
    (name,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    theirs = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()
    ids = Tokenizer.load(folder).ids(texts, max_length=loaded.config.max_positions)[0]
    with torch.inference_mode():
        alone = [theirs(torch.tensor([row]), output_hidden_states=True) for row in ids]
        yield Both(folder, ours, theirs, ids, alone)


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def traced() -> Trace:
    return Trace(["encoder.embeddings", "encoder.layers.*"])


def states(both: Both, trace: Trace) -> list[Tensor]:
    """Of the embeddings and of every layer, as theirs tells them."""
    layers = [trace.values[f"encoder.layers.{i}"] for i in range(len(both.stack.layers))]
    return [trace.values["encoder.embeddings"], *layers]


def padded(rows: list[list[int]], *, left: bool) -> tuple[Tensor, Tensor]:
    """ids (rows, longest), and what is real."""
    width = max(map(len, rows))
    ids, real = torch.zeros(len(rows), width, dtype=torch.int64), torch.zeros(len(rows), width, dtype=torch.int64)
    for i, row in enumerate(rows):
        here = slice(width - len(row), None) if left else slice(len(row))
        ids[i, here], real[i, here] = torch.tensor(row), 1
    return ids, real


def test_the_texts_are_of_very_different_lengths(both: Both) -> None:
    lengths = [len(row) for row in both.ids]
    assert min(lengths) == 2
    assert max(lengths) == both.ours.config.max_positions
    assert len(set(lengths)) >= 7


@torch.inference_mode()
def test_alone(both: Both) -> None:
    for row, (ids, expected) in enumerate(zip(both.ids, both.alone, strict=True)):
        trace = traced()
        close(both.ours(torch.tensor([ids]), trace=trace)[0], both.result(row))
        close(both.ours(torch.tensor([ids]))[0], both.result(row))
        for ours, theirs in zip(states(both, trace), expected.hidden_states, strict=True):
            close(ours, theirs)


@pytest.mark.parametrize("left", [False, True])
@torch.inference_mode()
def test_under_padding(both: Both, left: bool) -> None:
    """Equal to what theirs computes without padding, and with the same padding."""
    ids, real = padded(both.ids, left=left)
    places = (real.cumsum(1) - 1).clamp(min=0)
    with_padding = both.theirs(ids, attention_mask=real, position_ids=places, output_hidden_states=True).hidden_states
    trace = traced()
    hidden = both.stack(ids, attention_mask=real, position_ids=places, scope=Scope(trace).inside("encoder"))
    for layer, ours in enumerate(states(both, trace)):
        close(ours[real.bool()], with_padding[layer][real.bool()])
        close(ours[real.bool()], torch.cat([found.hidden_states[layer][0] for found in both.alone]))
    assert both.ours.head is not None
    outputs = torch.stack([both.result(row) for row in range(len(both.ids))])
    close(both.ours.head(hidden, attention_mask=real), outputs)
    if not left:
        close(both.ours(ids, attention_mask=real), outputs)


@torch.inference_mode()
def test_without_padding_in_one_ragged_batch(both: Both) -> None:
    examples = Listed([{"input_ids": row} for row in both.ids])
    batch = take(examples, np.arange(len(both.ids)))
    trace = traced()
    for told in (trace, None):
        outputs = both.ours(batch.input_ids, ragged=batch.ragged, trace=told)
        close(outputs, torch.stack([both.result(row) for row in batch.rows]))
    for layer, ours in enumerate(states(both, trace)):
        expected = torch.cat([both.alone[row].hidden_states[layer][0] for row in batch.rows])
        close(ours[: batch.ragged.tokens], expected)


@torch.inference_mode()
def test_a_predictor_gives_their_probabilities(real: Callable[[str], Path], texts: list[str]) -> None:
    folder = real("bert-tiny-question")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    batch = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True, return_tensors="pt")
    expected = theirs(**batch).logits.softmax(-1)
    answers = predictor(folder, precision="float32").predict(texts)
    assert [answer["label"] for answer in answers] == [theirs.config.id2label[int(i)] for i in expected.argmax(-1)]
    close(torch.tensor([list(answer["scores"].values()) for answer in answers]), expected)
