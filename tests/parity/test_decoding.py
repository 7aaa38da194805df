"""Searches against transformers' `generate`, over random models of each kind: the same texts, in any batch."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.parity.reference import random_model

from regard.checkpoints import load
from regard.models.build import filled
from regard.models.model import Model
from regard.models.pack import packed
from regard.tasks import generation
from regard.tasks.decoding import Generation
from regard.tasks.generation import written

WORDS, END, PAD, START = 40, 2, 1, 3

SIDES = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in (("layers", 2), ("attention_heads", 2))}
SMALL = {"d_model": 16, "vocab_size": WORDS, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 40}
ENDS = {"eos_token_id": END, "pad_token_id": PAD, "bos_token_id": 0, "forced_eos_token_id": None}
STANDARD = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "marian": ("MarianMTModel", {**SIDES, **SMALL, **ENDS, "decoder_start_token_id": START}),
    "bart": ("BartForConditionalGeneration", {**SIDES, **SMALL, **ENDS, "decoder_start_token_id": START}),
    "t5": (
        "T5ForConditionalGeneration",
        {
            "d_model": 16,
            "d_kv": 8,
            "d_ff": 32,
            "num_layers": 2,
            "num_heads": 2,
            "vocab_size": WORDS,
            **ENDS,
            "decoder_start_token_id": START,
        },
    ),
    "gpt2": ("GPT2LMHeadModel", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 60, "vocab_size": WORDS, **ENDS}),
    "llama": ("LlamaForCausalLM", {**STANDARD, "num_key_value_heads": 2, "vocab_size": WORDS, **ENDS}),
    "mistral": (
        "MistralForCausalLM",
        {**STANDARD, "num_key_value_heads": 2, "sliding_window": 4, "vocab_size": WORDS, **ENDS},
    ),
}
SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"num_beams": 4},
    "long": {"num_beams": 3, "length_penalty": 2.0},
    "short": {"num_beams": 3, "length_penalty": -1.0},
    "early": {"num_beams": 4, "early_stopping": True},
    "never early": {"num_beams": 2, "early_stopping": "never", "length_penalty": 0.7},
    "no penalty": {"num_beams": 5, "length_penalty": 0.0},
    "rules": {
        "num_beams": 3,
        "bad_words_ids": [[5], [6, 7]],
        "forced_bos_token_id": 9,
        "forced_eos_token_id": END,
        "suppress_tokens": [11],
        "begin_suppress_tokens": [12],
    },
    "greedy rules": {"suppress_tokens": [11, 4], "begin_suppress_tokens": [12], "forced_eos_token_id": END},
    "no word twice in a row": {"num_beams": 4, "bad_words_ids": [[word, word] for word in range(4, WORDS)]},
    "no trigram twice": {"num_beams": 4, "no_repeat_ngram_size": 3},
    "no word twice": {"no_repeat_ngram_size": 1},
    "dear repetitions": {"repetition_penalty": 1.7},
    "dear repetitions in beams": {"num_beams": 3, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    "not short": {"num_beams": 3, "min_new_tokens": 4},
    "not short, with the prompt": {"min_length": 6, "num_beams": 2},
    "two ends": {"num_beams": 3, "eos_token_id": [END, 17]},
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Model]]:
    """Kind -> theirs and ours."""
    made = {}
    for name, (architecture, config) in KINDS.items():
        theirs = random_model(architecture, **config, std=0.4)
        theirs.generation_config.max_length = None
        folder = tmp_path_factory.mktemp(name)
        theirs.save_pretrained(folder)
        loaded = load(folder)
        made[name] = theirs, filled(loaded.config, loaded.head, loaded.tensors)
    return made


def ours(
    model: Model, inputs: Sequence[Sequence[int]], rules: Generation, longest: int
) -> list[list[tuple[list[int], float]]]:
    sources, prompts = (inputs, [[START]] * len(inputs)) if model.encoder is not None else (None, inputs)
    stop = {rules.eos_token_id} if isinstance(rules.eos_token_id, int) else set(rules.eos_token_id or ())

    def remembered(numbers: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor | None]:
        assert model.encoder is not None
        ids, mask = generation.padded([inputs[number] for number in numbers])
        return model.encoder(ids, attention_mask=mask), mask.bool()

    found = written(
        model,
        prompts,
        rules,
        stop,
        longest=longest,
        dtype=torch.float32,
        remembered=None if model.encoder is None else remembered,
        sources=sources,
    )
    return [[(text.tokens, text.score) for text in texts] for texts in found]


def theirs_says(model: Any, tokens: Sequence[int], longest: int, **search: Any) -> list[tuple[list[int], float | None]]:
    rules = {"eos_token_id": END, "pad_token_id": PAD, "do_sample": False, "max_new_tokens": longest, **search}
    if not model.config.is_encoder_decoder:
        rules["bos_token_id"] = 0
    with torch.inference_mode():
        told = model.generate(torch.tensor([tokens]), **rules, return_dict_in_generate=True, output_scores=True)
    ends = rules["eos_token_id"] if isinstance(rules["eos_token_id"], list) else [rules["eos_token_id"]]
    skip = 1 if model.config.is_encoder_decoder else len(tokens)
    texts = []
    for row in told.sequences[:, skip:].tolist():
        cut = next((place for place, token in enumerate(row) if token in ends), len(row))
        texts.append(row[:cut])
    scores = told.sequences_scores.tolist() if search.get("num_beams", 1) > 1 else [None] * len(texts)
    return list(zip(texts, scores, strict=True))


INPUTS = [
    [5, 6, 7, 8, 9, 10, 11],
    [20],
    [30, 31, 32, 33],
    [39, 4],
    [12, 13, 12, 13, 12],
    [25, 26, 27],
    [8, 9],
    [15],
    [7] * 9,
]
LONGEST = [11, 5, 9, 12, 3, 7, 10, 8, 4]


@pytest.mark.filterwarnings("ignore:Unfeasible length constraints")  # what cannot be that long ends where it must
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_texts_are_theirs(kind: str, search: str, pairs: dict[str, tuple[Any, Model]], monkeypatch: pytest.MonkeyPatch):
    theirs, model = pairs[kind]
    told = dict(SEARCHES[search])
    if model.encoder is None:  # theirs knows no first token behind a prompt
        told.pop("forced_bos_token_id", None)
    best_of = min(told.get("num_beams", 1), 3)
    rules = Generation(**{"eos_token_id": END, **told, "num_return_sequences": best_of})
    monkeypatch.setattr(generation, "HYPOTHESES", 4 * told.get("num_beams", 1))  # rows wait, join and leave
    found = ours(packed(model, torch.float32), INPUTS, rules, LONGEST)
    written_by_both = 0
    for tokens, most, texts in zip(INPUTS, LONGEST, found, strict=True):
        expected = theirs_says(theirs, tokens, most, **told, num_return_sequences=best_of)
        assert [text for text, _ in texts] == [text for text, _ in expected]
        for (_, score), (_, known) in zip(texts, expected, strict=True):
            assert known is None or score == pytest.approx(known, abs=1e-4)
        written_by_both += len(texts[0][0])
    assert written_by_both > len(INPUTS)


@settings(deadline=None, max_examples=15)
@given(
    inputs=st.lists(st.lists(st.integers(3, WORDS - 1), min_size=1, max_size=7), min_size=1, max_size=7),
    kind=st.sampled_from(["marian", "t5", "mistral", "gpt2", "llama"]),
    beams=st.integers(1, 3),
    rows=st.integers(1, 4),
)
def test_a_text_is_the_same_alone_and_in_any_batch(
    pairs: dict[str, tuple[Any, Model]], inputs: list[list[int]], kind: str, beams: int, rows: int
):
    model = pairs[kind][1]
    rules = Generation(eos_token_id=END, num_beams=beams, num_return_sequences=beams)
    alone = [ours(model, [tokens], rules, [4 + number])[0] for number, tokens in enumerate(inputs)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "HYPOTHESES", rows * beams)
        together = ours(model, inputs, rules, [4 + number for number in range(len(inputs))])
    assert [[text for text, _ in texts] for texts in together] == [[text for text, _ in texts] for texts in alone]
    for mine, theirs in zip(together, alone, strict=True):
        assert [score for _, score in mine] == pytest.approx([score for _, score in theirs], abs=1e-5)
