"""Greedy search: over a scorer whose best sequences are known, and over real decoders, alone and in a batch."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.decoding import Banned, Forced, ModelScorer, Scorer, greedy
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model

END = 0


class Spelling(Scorer):
    """Rows that are to write known sequences: the right next token scores 2, its neighbour 1, all others 0."""

    def __init__(self, texts: Sequence[Sequence[int]], vocabulary: int = 10) -> None:
        self.texts, self.vocabulary, self.at = [[*text, END] for text in texts], vocabulary, -1
        self.widths: list[int] = []

    def read(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.at >= 0:
            assert ids[:, 0].tolist() == [text[self.at] for text in self.texts]
        self.at += 1
        self.widths.append(len(self.texts))
        scores = torch.zeros(len(self.texts), self.vocabulary)
        for row, text in enumerate(self.texts):
            scores[row, text[self.at]] = 2.0
            scores[row, (text[self.at] + 1) % self.vocabulary] = 1.0
        return scores

    def keep(self, rows: Tensor) -> None:
        self.texts = [self.texts[row] for row in rows.tolist()]


def prompt(rows: int) -> Tensor:
    return torch.full((rows, 1), 9)


def test_the_likeliest_tokens_are_written_and_rows_leave_when_they_are_done():
    texts = [[3, 4, 5], [], [6], [7, 7, 7]]
    scorer = Spelling(texts)
    assert greedy(scorer, prompt(4), stop={END}, longest=9) == texts
    assert scorer.widths == [4, 3, 2, 2]


def test_no_row_writes_more_than_the_longest():
    assert greedy(Spelling([[3, 4, 5], [6]]), prompt(2), stop={END}, longest=2) == [[3, 4], [6]]
    assert greedy(Spelling([[3], [6]]), prompt(2), stop={END}, longest=0) == [[], []]


def test_a_banned_token_gives_way_to_the_next_best():
    class Fixed(Spelling):
        def read(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
            self.at += 1
            return torch.tensor([[0.0, 1.0, 3.0, 2.0]])

    def say(*filters: object) -> list[int]:
        return greedy(Fixed([[]]), prompt(1), stop=(), longest=4, filters=filters)[0]

    assert say() == [2, 2, 2, 2]
    assert say(Banned([2])) == [3, 3, 3, 3]
    assert say(Banned([2], first=True)) == [3, 2, 2, 2]
    assert say(Banned([[2, 2]])) == [2, 3, 2, 3]
    assert say(Forced({0: 1, 2: 0})) == [1, 2, 0, 2]
    assert say(Banned([2]), Forced({1: 2})) == [3, 2, 3, 3]


@pytest.fixture(scope="module")
def decoder() -> Model:
    torch.manual_seed(0)
    config = ModelConfig(
        kind="decoder", positions="rotary", vocab_size=30, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=32
    )
    model = build(config, HeadConfig(over="vocabulary", dense=False, bias=False, n_outputs=30)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def uncached(model: Model, ids: list[int], longest: int) -> list[int]:
    for _ in range(longest):
        token = int(model(torch.tensor([ids]))[0, -1].argmax())
        if token == END:
            break
        ids = [*ids, token]
    return ids


@settings(deadline=None, max_examples=25)
@given(prompts=st.lists(st.lists(st.integers(1, 29), min_size=1, max_size=9), min_size=1, max_size=5))
def test_a_cached_batch_of_any_lengths_writes_what_each_row_writes_alone(decoder: Model, prompts: list[list[int]]):
    width = max(map(len, prompts))
    ids, mask = torch.zeros(2, len(prompts), width, dtype=torch.int64)
    for row, text in enumerate(prompts):
        ids[row, width - len(text) :], mask[row, width - len(text) :] = torch.tensor(text), 1
    with torch.inference_mode():
        texts = greedy(ModelScorer(decoder), ids, mask=mask, stop={END}, longest=12)
        assert [[*text, *written] for text, written in zip(prompts, texts, strict=True)] == [
            uncached(decoder, text, 12) for text in prompts
        ]


def test_an_encoder_decoder_reads_its_memory_row_by_row():
    torch.manual_seed(1)
    config = ModelConfig(kind="encoder-decoder", vocab_size=30, d_model=16, n_layers=2, n_heads=4, d_ff=32, max_positions=20)
    model = build(config, HeadConfig(over="vocabulary", dense=False, bias=False, n_outputs=30)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    sources = [torch.randint(1, 30, (1, n)) for n in (3, 7, 5)]
    alone = []
    with torch.inference_mode():
        assert model.encoder is not None
        for source in sources:
            scorer = ModelScorer(model, memory=model.encoder(source))
            alone += greedy(scorer, torch.tensor([[5]]), stop={END}, longest=10)
        ids, mask = torch.zeros(2, 3, 7, dtype=torch.int64)
        for row, source in enumerate(sources):
            ids[row, : source.shape[1]], mask[row, : source.shape[1]] = source[0], 1
        memory = model.encoder(ids, attention_mask=mask)
        scorer = ModelScorer(model, memory=memory, memory_mask=mask)
        assert greedy(scorer, torch.full((3, 1), 5), stop={END}, longest=10) == alone
    assert len(set(map(tuple, alone))) > 1


def test_what_a_scorer_refuses():
    encoder = build(ModelConfig(vocab_size=8, d_model=4, n_layers=1, n_heads=1, d_ff=4))
    with pytest.raises(ValueError, match="only a decoder"):
        ModelScorer(encoder)


def test_a_mask_comes_with_the_first_reading_only(decoder: Model):
    scorer = ModelScorer(decoder)
    scorer.read(torch.tensor([[1]]))
    with pytest.raises(ValueError, match="a mask is for the first reading"):
        scorer.read(torch.tensor([[1]]), torch.tensor([[1]]))
