"""fill-mask: what a token makes of a text, in every kind of vocabulary."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.parity.test_tasks import byte_level

from regard.errors import CheckpointError
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.predictor import Predictor
from regard.tasks.fill_mask import FillMask
from regard.text import Tokenizer, train_tokenizer
from regard.text.train import Kind

TASK = FillMask()
CORPUS = ["The players played a play.", "他去拿书。", "In Virginia he lived."] * 3


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(CORPUS, kind="wordpiece", vocab_size=70)


def predictor(tokenizer: Tokenizer, *, max_length: int = 40) -> Predictor:
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=tokenizer.vocab_size + 2, d_model=16, n_layers=1, n_heads=2, d_ff=16, max_positions=40)
    model = build(config, HeadConfig(over="vocabulary", activation="gelu", norm=True, n_outputs=config.vocab_size))
    for tensor in model.state_dict().values():
        if tensor.ndim > 1:
            tensor.normal_(std=0.5)
    return Predictor(model.eval().requires_grad_(False), TASK, tokenizer, max_length=max_length)


def sure_of(model: Predictor, spelling: str) -> Predictor:
    """The model, made to fill every mask with this token."""
    assert model.tokenizer is not None
    index = model.tokenizer.id_of(spelling)
    assert index is not None
    bias = torch.zeros(model.model.config.vocab_size)
    bias[index] = 99.0
    model.model.head.out.bias.copy_(bias)
    return model


def filled(tokenizer: Tokenizer, text: str, spelling: str) -> tuple[str, list[str]]:
    """(token, the text with each mask filled by it)."""
    (answer,) = sure_of(predictor(tokenizer), spelling).predict([text])
    best = [candidates[0] for candidates in answer["candidates"]]
    assert all(each["score"] == pytest.approx(1.0) for each in best)
    return best[0]["token"], [each["text"] for each in best]


@pytest.mark.parametrize(
    ("text", "spelling", "expected"),
    [
        ("他去[MASK]书。", "拿", "他去拿书。"),
        ("The [MASK] lived", "he", "The he lived"),
        ("The play[MASK] lived", "##ed", "The played lived"),
        ("The play [MASK] lived", "##ed", "The played lived"),
        ("[MASK]", "##ed", "##ed"),
        ("[MASK] 去", "他", "他 去"),
        ("In Virginia [MASK]", ".", "In Virginia."),
        ("  [MASK]\n他", "he", "  he\n他"),
    ],
)
def test_pieces_of_words(tokenizer: Tokenizer, text: str, spelling: str, expected: str) -> None:
    assert filled(tokenizer, text, spelling) == (spelling, [expected])


@pytest.mark.parametrize(
    ("text", "spelling", "expected"),
    [
        ("lived in <mask>.", "ĠVirginia", "lived in Virginia."),
        ("lived in<mask>.", "ĠVirginia", "lived in Virginia."),
        ("lived in <mask>.", "George", "lived inGeorge."),
        ("<mask> lived", "George", "George lived"),
        ("<mask> lived", "ĠVirginia", "Virginia lived"),
        ("in  <mask>", "Ġ", "in  "),
    ],
)
def test_a_mask_that_takes_the_space_before_it(text: str, spelling: str, expected: str, tmp_path: Path) -> None:
    byte_level(tmp_path)
    token, texts = filled(Tokenizer.load(tmp_path), text, spelling)
    assert texts == [expected]
    assert token == spelling.removeprefix("Ġ") or (token, spelling) == ("Ġ", "Ġ")


@pytest.mark.parametrize(
    ("kind", "text", "spelling", "expected"),
    [
        ("unigram", "he lived[MASK]", "▁play", "he lived play"),
        ("unigram", "he lived [MASK]", "▁play", "he lived play"),
        ("char", "a [MASK]b", "p", "a pb"),
        ("byte", "a [MASK]b", "p", "a pb"),
        ("bpe", "a[MASK]b", "Ġplay", "a playb"),
        ("bpe", "a [MASK]b", "p", "a pb"),
    ],
)
def test_other_vocabularies(kind: Kind, text: str, spelling: str, expected: str) -> None:
    size = 290 if kind in ("bpe", "byte") else 70
    tokenizer = train_tokenizer([*CORPUS, "a a b"], kind=kind, vocab_size=size)
    assert filled(tokenizer, text, spelling)[1] == [expected]


def test_several_masks_are_filled_one_by_one(tokenizer: Tokenizer) -> None:
    token, texts = filled(tokenizer, "[MASK]去[MASK] [MASK].", "书")
    assert token == "书"
    assert texts == ["书去[MASK] [MASK].", "[MASK]去书 [MASK].", "[MASK]去[MASK] 书."]


def test_scores_are_of_the_whole_vocabulary_and_tokens_are_known(tokenizer: Tokenizer) -> None:
    """A model may have more rows than the tokenizer has tokens: these are nobody's."""
    model = predictor(tokenizer)
    model.model.head.out.bias[-1] = 3.0
    (answer,) = model.predict(["他[MASK]"])
    scores = [each["score"] for each in answer["candidates"][0]]
    assert scores == sorted(scores, reverse=True)
    assert 0 < sum(scores) < 1
    assert all(each["token"] for each in answer["candidates"][0])
    assert model.line({"text": "他[MASK]", **answer}).count(",") == len(scores) - 1 == 4


@pytest.mark.parametrize("max_length", [40, 9])
def test_long_texts_are_never_cut(tokenizer: Tokenizer, max_length: int) -> None:
    text = "[MASK]" + "他去拿书" * 30 + "[MASK]" + "他去" * 30 + "[MASK]"
    (answer,) = sure_of(predictor(tokenizer, max_length=max_length), "书").predict([text])
    assert [candidates[0]["text"] for candidates in answer["candidates"]] == [
        "书" + text[6:],
        text.replace("书[MASK]他", "书书他"),
        text[:-6] + "书",
    ]


def test_texts_without_a_mask_are_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = predictor(tokenizer)
    with pytest.raises(Exception, match=r"2 problems:\ntext 1: no \[MASK\] in the text\n.*\n  fix: write \[MASK\] where"):
        model.predict(["他去", "他[MASK]", "[mask]"])
    (tmp_path / "x.txt").write_text("他[MASK]\n他去\n", encoding="utf-8")
    with pytest.raises(Exception, match=r"x.txt, row 2.*, column text: no \[MASK\] in the text"):
        list(model.answered_file(str(tmp_path / "x.txt")))
    bare = train_tokenizer(CORPUS, kind="bpe", vocab_size=290, specials="gpt")
    with pytest.raises(CheckpointError, match=r"tokenizer_config.json: no mask_token"):
        predictor(bare).predict(["他[MASK]"])


def test_settings_are_none() -> None:
    made: Any = FillMask.from_settings({"task": "fill-mask", "generation": {"pad_token_id": 0}})
    assert made == TASK
    assert made.settings() == {}
