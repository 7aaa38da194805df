"""Tasks that read one text and write another: what is learned, from scratch or a checkpoint, and how it is measured."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data.batch import Listed, take
from regard.errors import ConfigError
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model
from regard.tasks.decoding import Generation
from regard.tasks.generation import decoded
from regard.tasks.summarization import Summarization
from regard.tasks.task import learnable
from regard.tasks.text_to_text import TextToText
from regard.tasks.translation import Translation
from regard.text import Tokenizer, train_pieces

SOURCES = ["the old man sees the red dog", "a dog runs", "the dog", "an old man runs to the old dog and sees it"]
TARGETS = ["der alte Mann sieht den roten Hund", "ein Hund rennt", "der Hund", "ein alter Mann rennt zum alten Hund"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_pieces(SOURCES * 3, TARGETS * 3, kind="bpe", vocab_size=80)


def made(tokenizer: Tokenizer, **changes: Any) -> Model:
    torch.manual_seed(0)
    shape = {"kind": "encoder-decoder", "d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 32, "positions": "sinusoidal"}
    quiet = {"dropout": 0.0, "attention_dropout": 0.0, "embedding_scale": True, "pad_is_zero": True}
    config = ModelConfig(**{**shape, **quiet, "vocab_size": tokenizer.vocab_size, "pad_id": tokenizer.pad_id, **changes})
    return build(config, HeadConfig(over="vocabulary", dense=False, n_outputs=config.target_vocab_size))


def task(tokenizer: Tokenizer) -> TextToText:
    return TextToText().starting(tokenizer, None)


def rows(indices: range | list[int] = range(4)) -> list[dict[str, str]]:
    return [{"text": SOURCES[i], "generated": TARGETS[i]} for i in indices]


def padded_loss(model: Model, examples: list[dict[str, Any]], pad: int, smoothing: float) -> torch.Tensor:
    """The plain formula over a padded batch."""
    total = torch.zeros(())
    for example in examples:
        target = torch.tensor(example["target_ids"])
        told = torch.cat([torch.tensor([example["start"]]), target[:-1]])
        scores = model(torch.tensor([example["input_ids"]]), decoder_ids=told[None])[0].clone()
        scores[:, pad] = float("-inf")
        logs = scores.log_softmax(-1)
        even = logs.where(logs.isfinite(), 0).sum(-1) / (logs.shape[1] - 1)
        total = total - ((1 - smoothing) * logs.gather(1, target[:, None])[:, 0] + smoothing * even).sum()
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("place", ["pre", "post"])
def test_the_loss_is_that_of_each_row_by_itself(tokenizer: Tokenizer, smoothing: float, place: str) -> None:
    model, learned = made(tokenizer, norm_place=place), task(tokenizer)
    examples = learned.encode(rows(), tokenizer, max_length=None)
    loss, count = learned.loss(model, take(Listed(examples), np.arange(4)), smoothing=smoothing, dtype=torch.float32)
    expected = padded_loss(model, examples, tokenizer.pad_id, smoothing)
    assert count == sum(len(example["target_ids"]) for example in examples)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    found, wanted = (torch.autograd.grad(each, [*model.parameters()], allow_unused=True) for each in (loss, expected))
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@settings(deadline=None, max_examples=10)
@given(order=st.permutations(range(4)), cut=st.integers(1, 3))
def test_however_a_batch_is_split_the_gradient_is_the_same(tokenizer: Tokenizer, order: list[int], cut: int) -> None:
    model, learned = made(tokenizer), task(tokenizer)
    held = Listed(learned.encode(rows(), tokenizer, max_length=None))

    def gradient(parts: list[list[int]]) -> torch.Tensor:
        model.zero_grad()
        for part in parts:
            learned.loss(model, take(held, np.array(part)), smoothing=0.1, dtype=torch.float32)[0].backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    whole, split = gradient([[0, 1, 2, 3]]), gradient([order[:cut], order[cut:]])
    assert (split - whole).norm() <= 1e-5 * whole.norm()


def test_the_padding_s_embedding_stays_zero(tokenizer: Tokenizer) -> None:
    model, learned = made(tokenizer), task(tokenizer)
    table = model.encoder.embeddings.tokens.weight
    assert table[tokenizer.pad_id].abs().max() == 0
    held = Listed(learned.encode(rows(), tokenizer, max_length=None))
    learned.loss(model, take(held, np.arange(4)), smoothing=0.1, dtype=torch.float32)[0].backward()
    assert table.grad[tokenizer.pad_id].abs().max() == 0


def test_examples_hold_what_is_read_what_is_written_and_the_text_of_it(tokenizer: Tokenizer) -> None:
    (example,) = task(tokenizer).encode(rows([1]), tokenizer, max_length=None)
    assert tokenizer.decode([example["input_ids"]]) == ["a dog runs"]
    assert tokenizer.target.decode([example["target_ids"]]) == ["ein Hund rennt"]
    assert bytes(example["reference"]).decode() == "ein Hund rennt"
    assert (example["start"], example["truncated"]) == (tokenizer.pad_id, 0)
    (short,) = task(tokenizer).encode(rows([0]), tokenizer, max_length=4)
    assert (len(short["input_ids"]), len(short["target_ids"]), short["truncated"]) == (4, 4, 1)
    (asked,) = task(tokenizer).encode([{"text": "a dog"}], tokenizer, max_length=None)
    assert asked.keys() == {"input_ids", "truncated"}


def test_it_is_measured_by_what_it_writes_and_how_likely_the_references_are(tokenizer: Tokenizer) -> None:
    model, learned = made(tokenizer).train(), task(tokenizer)
    examples = learned.encode(rows(), tokenizer, max_length=None)
    for quick in (True, False):
        found = learned.measure(model, Listed(examples), tokenizer, dtype=torch.float32, quick=quick)
        assert model.training
        expected = padded_loss(model.eval(), examples, tokenizer.pad_id, 0.0) / sum(len(e["target_ids"]) for e in examples)
        model.train()
        assert found.metrics["perplexity"]["value"] == pytest.approx(expected.exp().item(), rel=1e-4)
        assert {"exact_match", "f1"} <= found.metrics.keys()


def test_a_checkpoint_says_how_it_writes() -> None:
    said = {"generation": {"decoder_start_token_id": 2, "eos_token_id": 1, "num_beams": 4}}
    for kind in (TextToText, Translation, Summarization):
        assert kind().starting(None, said).generation == Generation(**said["generation"])


@pytest.mark.parametrize("name", ["translation", "summarization", "text2text-generation"])
def test_settings_come_back(name: str) -> None:
    kind = learnable(name)
    made = kind.from_data({"validate_on": 7}, None)
    assert kind.from_settings(made.settings()) == made
    with pytest.raises(ConfigError, match="unknown key 'validate'"):
        kind.columns({"validate": 7})


@pytest.mark.parametrize("joint", [True, False])
def test_what_is_asked_of_a_text_is_asked_of_the_vocabulary_that_is_written(joint: bool):
    tokenizer = train_pieces(SOURCES * 3, TARGETS * 3, kind="bpe", vocab_size=80, joint=joint)
    model = made(tokenizer, decoder_vocab_size=tokenizer.target.vocab_size, share_embeddings=joint).eval()

    def written(**decoding: Any) -> list[str]:
        told = decoded(task(tokenizer), {"max_new_tokens": 30, **decoding}, tokenizer)
        answers = told.answers(model, rows(), tokenizer, max_length=None, dtype=torch.float32)
        return [answer["generated"] for answer in answers]

    assert set(written(regex="(der|ein) (Hund|Mann)")) <= {"der Hund", "ein Hund", "der Mann", "ein Mann"}
    assert all("roten" in text and "Mann" in text for text in written(beams=3, required=["roten", "Mann"]))
    plain = written()
    letter = next(letter for letter in plain[0][1:] if letter.isalpha())
    assert written(stop=[letter])[0] == plain[0].split(letter)[0].strip()
