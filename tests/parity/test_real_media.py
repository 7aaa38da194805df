"""Whisper's real weights on real speech against transformers in float32: hidden states of every layer, logits, greedy
tokens; and what travels with them."""

import json
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from regard.checkpoints import Loaded, export_hf, load
from regard.checkpoints.contract import check_round_trip
from regard.checkpoints.reference import answer_of
from regard.layers.cache import Cache
from regard.layers.trace import Trace
from regard.models.build import filled
from regard.models.heads import Head
from regard.models.model import Model

pytestmark = pytest.mark.real

TOKENS = 64


@dataclass(frozen=True)
class Both:
    """Whisper as both libraries read it, and what it hears: (1, n_mels, frames)."""

    folder: Path
    loaded: Loaded
    ours: Model
    theirs: Any
    features: Tensor

    heard: Tensor
    """(1, tokens): what theirs writes down of it, greedily."""

    @property
    def rules(self) -> dict[str, Any]:
        """How the checkpoint generates, as task.json tells it."""
        assert self.loaded.task is not None
        rules: dict[str, Any] = self.loaded.task["generation"]
        return rules

    @property
    def prompt(self) -> Tensor:
        """(1, 4): English speech, to be written down, without times."""
        rules = self.rules
        start, end = rules["decoder_start_token_id"], rules["no_timestamps_token_id"]
        return torch.tensor([[start, rules["lang_to_id"]["<|en|>"], rules["task_to_id"]["transcribe"], end]])


@pytest.fixture(scope="module")
def speech(shared: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Five read sentences, one behind the other, 25 seconds at 16 kHz."""
    samples = []
    for path in sorted((shared / "data/librivox").glob("sense_*.wav")):
        with wave.open(str(path)) as sound:
            assert (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) == (16_000, 2, 1)
            samples.append(np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2"))
    return np.concatenate(samples).astype(np.float32) / 2**15


@pytest.fixture(scope="module")
def both(real: Callable[[str], Path], speech: Any) -> Both:
    folder = real("whisper-tiny")
    loaded = load(folder)
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    features = extractor(speech, sampling_rate=16_000, return_tensors="pt").input_features
    heard = theirs.generate(features, language="en", do_sample=False, max_new_tokens=TOKENS)
    return Both(folder, loaded, filled(loaded.config, loaded.head, loaded.tensors), theirs, features, heard)


@torch.inference_mode()
def greedy(both: Both) -> list[int]:
    """The likeliest tokens behind the prompt, one by one, but those that the checkpoint forbids: always, and at first."""
    encoder, decoder, head = both.ours.encoder, both.ours.decoder, both.ours.head
    assert encoder is not None and decoder is not None and isinstance(head, Head)
    memory, cache = encoder(both.features), Cache(decoder.n_layers)
    never, first = both.rules["suppress_tokens"], both.rules["begin_suppress_tokens"]
    tokens, step = [], both.prompt
    while len(tokens) < TOKENS:
        scores = head(decoder(step, memory=memory, cache=cache))[0, -1]
        scores[never if tokens else never + first] = -torch.inf
        tokens.append(int(scores.argmax()))
        step = torch.tensor([tokens[-1:]])
    return tokens


def test_hidden_states_and_logits(both: Both) -> None:
    """Of both stacks, in every layer, over the frames of the whole chunk and over 64 tokens. 1e-4 is relative to the largest
    value: a few of the encoder's are some hundred times the others, and rounding goes with them."""
    batch = {"inputs": both.features, "decoder_ids": torch.cat([both.prompt, both.heard], dim=1)}
    expected = answer_of(both.theirs)(batch)
    layers = both.ours.config.n_layers + both.ours.config.decoder_layers
    assert len(expected.sites) == 2 + layers
    assert expected.output is not None
    trace = Trace(list(expected.sites))
    with torch.inference_mode():
        logits = both.ours(**batch, trace=trace)
    found = {**trace.values, "logits": logits}
    for site, value in {**expected.sites, "logits": expected.output}.items():
        assert found[site].shape == value.shape
        assert (found[site] - value).abs().max() < 1e-4 * value.abs().max(), site


def test_greedy_tokens(both: Both) -> None:
    assert both.heard.shape == (1, TOKENS)
    assert greedy(both) == both.heard[0].tolist()


def test_it_comes_back_bit_for_bit_and_with_all_that_came_with_it(both: Both, tmp_path: Path) -> None:
    export_hf(load(both.folder, dtype=None), tmp_path)
    check_round_trip(both.folder, tmp_path)
    for name in ("generation_config.json", "preprocessor_config.json"):
        assert json.loads((tmp_path / name).read_bytes()) == json.loads((both.folder / name).read_bytes())
    again = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path, dtype=torch.float32)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in both.theirs.state_dict().items())


def test_what_newer_processors_write_says_the_same(both: Both, tmp_path: Path) -> None:
    """They put the preprocessor's settings into processor_config.json."""
    export_hf(both.loaded, tmp_path / "new")
    (tmp_path / "new/preprocessor_config.json").unlink()
    transformers.WhisperProcessor.from_pretrained(both.folder).save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new/preprocessor_config.json").exists()
    loaded = load(tmp_path / "new")
    assert loaded.task is not None and both.loaded.task is not None
    features, older = loaded.task["features"], both.loaded.task["features"]
    assert {name: features[name] for name in ("sampling_rate", "feature_size", "n_fft", "hop_length", "chunk_length")} == {
        name: older[name] for name in ("sampling_rate", "feature_size", "n_fft", "hop_length", "chunk_length")
    }
    export_hf(loaded, tmp_path / "out")
    there = json.loads((tmp_path / "out/processor_config.json").read_bytes())
    assert there == json.loads((tmp_path / "new/processor_config.json").read_bytes())
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "out")
    assert (extractor.feature_size, extractor.sampling_rate) == (80, 16_000)
