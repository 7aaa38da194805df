"""Real encoder-decoders against transformers in float32: hidden states of every layer, logits, and 64 tokens by greedy
search with cached keys."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from regard.checkpoints import Loaded, export_hf, load
from regard.checkpoints.contract import check_answer, check_laws, check_round_trip
from regard.checkpoints.reference import answer_of
from regard.layers.cache import Cache
from regard.models.build import filled
from regard.models.heads import Head
from regard.models.model import Model
from regard.text import Tokenizer

pytestmark = pytest.mark.real

TEXTS = {
    "bart-g2p-en": ["knight", "a", "photograph", "Worcestershire"],
    "opus-mt-zh-en": ["我想去北京。", "今天天气很好，我们去公园散步吧。", "不"],
    "flan-t5-small-title": [
        "Translate to German: How old are you?",
        "Summarize: The tower is 324 metres tall, about the same height as an 81-storey building.",
        "no",
    ],
}
TOKENS = 64


@dataclass(frozen=True)
class Both:
    """A checkpoint as both libraries read it, and texts of very different lengths as a padded batch."""

    folder: Path
    loaded: Loaded
    ours: Model
    theirs: Any
    ids: Tensor
    real: Tensor
    written: Tensor
    """What ours makes of the batch, by :func:`greedy`."""

    @property
    def start(self) -> int:
        """The id that a decoder begins with."""
        assert self.loaded.task is not None
        return int(self.loaded.task["generation"]["decoder_start_token_id"])

    def rows(self) -> Iterator[Tensor]:
        """Each text alone, (1, tokens)."""
        for ids, real in zip(self.ids, self.real, strict=True):
            yield ids[: int(real.sum())][None]


@pytest.fixture(scope="module", params=TEXTS)
def both(request: pytest.FixtureRequest, real: Callable[[str], Path]) -> Both:
    folder = real(request.param)
    loaded = load(folder)
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    rows = Tokenizer.load(folder).ids(TEXTS[request.param])[0]
    ids = torch.full((len(rows), max(map(len, rows))), loaded.config.pad_id)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
    assert loaded.task is not None
    ours = filled(loaded.config, loaded.head, loaded.tensors)
    written = greedy(ours, ids, loaded.task["generation"]["decoder_start_token_id"], real=mask)
    return Both(folder, loaded, ours, theirs, ids, mask.long(), written)


@torch.inference_mode()
def greedy(model: Model, ids: Tensor, start: int, *, real: Tensor | None = None) -> Tensor:
    """The likeliest next token, 64 times: (rows, 64). The encoder reads once, the decoder one token at a time."""
    assert model.encoder is not None
    assert model.decoder is not None
    assert isinstance(model.head, Head)
    memory = model.encoder(ids, attention_mask=real)
    cache, tokens = Cache(model.decoder.n_layers), [torch.full((len(ids), 1), start)]
    for _ in range(TOKENS):
        hidden = model.decoder(tokens[-1], memory=memory, memory_mask=real, cache=cache)
        tokens.append(model.head(hidden).argmax(-1))
    return torch.cat(tokens[1:], 1)


def generated(both: Both, ids: Tensor, real: Tensor | None = None) -> Tensor:
    """What `generate` of theirs writes, without the start: (rows, up to 64), filled up behind the end."""
    found = both.theirs.generate(ids, attention_mask=real, num_beams=1, do_sample=False, max_new_tokens=TOKENS)
    assert (found[:, 0] == both.start).all()
    tokens: Tensor = found[:, 1:]
    return tokens


@torch.inference_mode()
def test_states_and_logits_with_and_without_padding(both: Both) -> None:
    target = both.written[:, :8]
    padded = {
        "inputs": both.ids,
        "attention_mask": both.real,
        "decoder_ids": target,
        "decoder_mask": (torch.arange(8) < torch.tensor([8, 1, 5, 7])[: len(target), None]).long(),
    }
    alone = [{"inputs": row, "decoder_ids": target[i : i + 1]} for i, row in enumerate(both.rows())]
    answer = answer_of(both.theirs)
    for batch in (padded, *alone):
        expected = answer(batch)
        assert len(expected.sites) == 2 + both.theirs.config.num_hidden_layers + both.ours.config.decoder_layers
        scale = max(float(value.abs().median()) for value in expected.sites.values())
        check_answer(both.ours, batch, expected, tolerance=1e-4 * scale, relative=1e-4)
    check_laws(both.ours, padded, tolerance=1e-4)


@torch.inference_mode()
def test_64_tokens_by_greedy_search(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """On beyond the end of the text, where a decoder is least sure of itself."""
    endless = transformers.GenerationConfig(decoder_start_token_id=both.start, pad_token_id=both.loaded.config.pad_id)
    monkeypatch.setattr(both.theirs, "generation_config", endless)
    assert both.written.shape == (len(both.ids), TOKENS)
    assert torch.equal(both.written, generated(both, both.ids, both.real))


@torch.inference_mode()
def test_texts_end_where_theirs_end(both: Both) -> None:
    """By the generation settings that came with the checkpoint."""
    assert both.loaded.task is not None
    end = both.loaded.task["generation"]["eos_token_id"]
    for row, written in zip(both.rows(), both.written.tolist(), strict=True):
        assert end in written
        assert written[: written.index(end) + 1] == generated(both, row)[0].tolist()


@torch.inference_mode()
def test_a_knight_s_k_is_silent(real: Callable[[str], Path]) -> None:
    folder = real("bart-g2p-en")
    loaded = load(folder)
    model = filled(loaded.config, loaded.head, loaded.tensors)
    table = json.loads((folder / "g2p_vocab.json").read_text(encoding="utf-8"))
    read, written = table["grapheme_chars"], table["phoneme_chars"]
    start, end = table["decoder_start_token_id"], table["eos_token_id"]
    ids = torch.tensor([[table["bos_token_id"], *map(read.index, "knight"), end]])
    begin, *sounds = greedy(model, ids, start)[0].tolist()
    assert begin == start
    assert "".join(written[i] for i in sounds[: sounds.index(end)]) == "nˈIt"


def test_export_gives_back_what_came(both: Both, tmp_path: Path) -> None:
    """Bit by bit, in the dtype that it is stored in; transformers finds all of it."""
    stored = load(both.folder, dtype=None)
    export_hf(stored, tmp_path)
    dtype = str(next(iter(stored.tensors.values())).dtype).removeprefix("torch.")
    check_round_trip(both.folder, tmp_path, stored={"dtype": dtype})
    _, report = type(both.theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
