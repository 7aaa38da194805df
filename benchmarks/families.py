"""One forward pass of every family of checkpoints: Regard against transformers, the same random weights, the same rows.

    python benchmarks/families.py [--rounds 9] [--threads 2] [--only bert,llama] [--json]

A model of each family is made by transformers (4 layers, 256 wide, a vocabulary of 8,000), saved, and loaded by both. A
batch is 64 rows of 4 to 60 tokens, as sentences are long, sorted; a decoder with memory reads 64 other rows of the same
lengths in another order. transformers gets it padded with its masks, and computes with its own choice of attention. Regard
gets it as its predictor would give it: end to end without padding where the model has one stack, the same padded batch where
it has two. Sound is 2 clips, images are 8. What is timed is the pass to the hidden states, in float32 and in bfloat16
(Regard: its packed copies, which `regard predict` uses on a CPU). The two take turns. With one thread the clock is that of
the processor, which stands still while other programs have their turn.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import harness
from harness import Contender, Spread

if TYPE_CHECKING:
    import torch

VOCABULARY, WIDTH, LAYERS, HEADS, INNER = 8000, 256, 4, 4, 1024
ROWS, LOW, HIGH = 64, 4, 60
REPEATS = 3
"""Passes in one round, of which the quickest counts."""

ENCODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
}
LLAMA = {**ENCODER, "num_key_value_heads": 2}
BART = {
    "vocab_size": VOCABULARY,
    "d_model": WIDTH,
    "encoder_layers": LAYERS,
    "decoder_layers": LAYERS,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": INNER,
    "decoder_ffn_dim": INNER,
    "pad_token_id": 1,
}
T5 = {"vocab_size": VOCABULARY, "d_model": WIDTH, "d_kv": 64, "d_ff": INNER, "num_layers": LAYERS, "num_heads": HEADS}
WAVE = {key: value for key, value in ENCODER.items() if key != "vocab_size"}
IMAGE = {**WAVE, "image_size": 112, "patch_size": 16}
TOWER = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER}

MODELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bert": ("BertModel", ENCODER),
    "roberta": ("RobertaModel", ENCODER),
    "distilbert": (
        "DistilBertModel",
        {"vocab_size": VOCABULARY, "dim": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": INNER},
    ),
    "albert": ("AlbertModel", {**ENCODER, "embedding_size": 128}),
    "electra": ("ElectraModel", {**ENCODER, "embedding_size": 128}),
    "deberta-v2": (
        "DebertaV2Model",
        {
            **ENCODER,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 256,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "modernbert": ("ModernBertModel", {**ENCODER, "pad_token_id": 0, "reference_compile": False}),
    "gpt2": ("GPT2Model", {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_inner": INNER}),
    "gpt_neox": ("GPTNeoXModel", ENCODER),
    "llama": ("LlamaModel", LLAMA),
    "mistral": ("MistralModel", {**LLAMA, "sliding_window": 32}),
    "qwen2": ("Qwen2Model", LLAMA),
    "qwen3": ("Qwen3Model", {**LLAMA, "head_dim": 64}),
    "t5": ("T5Model", T5),
    "mt5": ("MT5Model", {**T5, "feed_forward_proj": "gated-gelu"}),
    "bart": ("BartModel", BART),
    "mbart": ("MBartModel", BART),
    "marian": ("MarianModel", {**BART, "decoder_start_token_id": 1}),
    "m2m_100": ("M2M100Model", BART),
    "whisper": ("WhisperModel", {**BART, "max_source_positions": 500, "pad_token_id": 1}),
    "wav2vec2": ("Wav2Vec2Model", {**WAVE, "conv_dim": [256] * 7}),
    "hubert": ("HubertModel", {**WAVE, "conv_dim": [256] * 7}),
    "vit": ("ViTModel", IMAGE),
    "deit": ("DeiTModel", IMAGE),
    "clip": (
        "CLIPModel",
        {
            "text_config": {**TOWER, "vocab_size": VOCABULARY},
            "vision_config": {**TOWER, "image_size": 112, "patch_size": 16},
        },
    ),
}
"""Family -> class of transformers, its configuration."""

TWO_STACKS = ("t5", "mt5", "bart", "mbart", "marian", "m2m_100", "whisper")


def make(family: str, folder: Path) -> None:
    """A random model of transformers, as a folder."""
    import torch
    import transformers

    torch.manual_seed(0)
    name, config = MODELS[family]
    kind = getattr(transformers, name)
    kind(kind.config_class(**config)).save_pretrained(folder)


def batch(family: str, number: int) -> dict[str, Any]:
    """One round's inputs under our names: ids or features, `attention_mask`, `decoder_ids`, `images`."""
    import torch

    generator = torch.Generator().manual_seed(number)
    if family == "whisper":
        features = torch.randn(2, 80, 1000, generator=generator)
        return {"inputs": features, "decoder_ids": torch.randint(4, VOCABULARY, (2, 40), generator=generator)}
    if family in ("wav2vec2", "hubert"):
        return {"inputs": torch.randn(2, 5 * 16000, generator=generator)}
    if family in ("vit", "deit"):
        return {"inputs": torch.randn(8, 3, 112, 112, generator=generator)}
    draw = random.Random(number)
    lengths = sorted(draw.randint(LOW, HIGH) for _ in range(ROWS))
    ids, mask = texts(lengths, generator)
    given = {"inputs": ids, "attention_mask": mask}
    if family in TWO_STACKS:
        draw.shuffle(lengths)
        given["decoder_ids"], given["decoder_mask"] = texts(lengths, generator)
    if family == "clip":
        given["images"] = torch.randn(8, 3, 112, 112, generator=generator)
    return given


def texts(lengths: Sequence[int], generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random ids (rows, longest), padded behind each row's length, and what of it is real."""
    import torch

    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return torch.randint(4, VOCABULARY, mask.shape, generator=generator) * mask, mask


class Timed:
    """What both have: a pass, repeated, in one of two precisions."""

    def __init__(self, family: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.family = family
        self.clock = process_time if threads == 1 else perf_counter

    def facts(self) -> dict[str, Any]:
        """Nothing is known before the first round."""
        return {}

    def run(self, number: int) -> dict[str, float]:
        """Seconds of a pass, by precision."""
        import torch

        given, seconds = batch(self.family, number), {}
        with torch.inference_mode():
            for precision in ("float32", "bfloat16"):
                call = self.prepared(given, precision)
                call()
                seconds[precision] = min(self._timed(call) for _ in range(REPEATS))
        return seconds

    def _timed(self, call: Callable[[], Any]) -> float:
        start = self.clock()
        call()
        return self.clock() - start

    def prepared(self, given: Mapping[str, Any], precision: str) -> Callable[[], Any]:
        """A function without arguments that does the pass."""
        raise NotImplementedError


class Ours(Timed):
    """Regard's model, packed for both precisions."""

    def __init__(self, family: str, folder: Path, threads: int) -> None:
        import torch

        from regard.checkpoints import load
        from regard.models.build import filled
        from regard.models.pack import packed

        super().__init__(family, threads)
        loaded = load(folder)
        plain = filled(loaded.config, loaded.head, loaded.tensors)
        dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        self.models = {name: (packed(plain, dtype), dtype) for name, dtype in dtypes.items()}

    def prepared(self, given: Mapping[str, Any], precision: str) -> Any:
        """See :meth:`Timed.prepared`."""
        import torch

        from regard.layers.ragged import ROUND, Ragged

        model, dtype = self.models[precision]
        if "images" in given:
            return lambda: model.pairs(given["inputs"], given["images"], attention_mask=given["attention_mask"], dtype=dtype)
        if "attention_mask" not in given or "decoder_ids" in given:
            return lambda: model.hidden(**given, dtype=dtype)
        lengths = given["attention_mask"].sum(1).tolist()

        def flat() -> Any:
            layout = Ragged.of(lengths, multiple=ROUND)
            parts = [row[:length] for row, length in zip(given["inputs"], lengths, strict=True)]
            return model.hidden(torch.cat([*parts, parts[0].new_zeros(layout.spare)]), ragged=layout, dtype=dtype)

        return flat


class Theirs(Timed):
    """The model of transformers that was saved, in both precisions."""

    def __init__(self, family: str, folder: Path, threads: int) -> None:
        import torch
        import transformers
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        super().__init__(family, threads)
        kind = getattr(transformers, MODELS[family][0])
        self.models = {
            name: kind.from_pretrained(folder, dtype=getattr(torch, name)).eval() for name in ("float32", "bfloat16")
        }

    def prepared(self, given: Mapping[str, Any], precision: str) -> Any:
        """See :meth:`Timed.prepared`."""
        import torch

        model = self.models[precision]
        theirs = {
            "decoder_ids": "decoder_input_ids",
            "decoder_mask": "decoder_attention_mask",
            "attention_mask": "attention_mask",
            "images": "pixel_values",
        }
        main = "input_ids" if "images" in given else model.main_input_name
        named = {
            theirs.get(name, main): value.to(model.dtype) if value.is_floating_point() else value
            for name, value in given.items()
        }
        assert all(isinstance(value, torch.Tensor) for value in named.values())
        return lambda: model(**named)


def compare(family: str, rounds: int, threads: int) -> dict[str, Any]:
    """How many times as fast ours is, by precision."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        harness.apart(make, family, folder)
        contenders = [Contender("regard", Ours, family, folder, threads), Contender("hf", Theirs, family, folder, threads)]
        turns = harness.alternate(contenders, 1 + rounds, "run")
        for contender in contenders:
            contender.close()
    entry: dict[str, Any] = {"family": family}
    for precision in ("float32", "bfloat16"):
        ours, theirs = ([turn[precision] for turn in turns[who][1:]] for who in ("regard", "hf"))
        entry[f"{precision}, times as fast"] = Spread.of(b / a for a, b in zip(ours, theirs, strict=True))
        entry[f"{precision}, ms"] = 1000 * statistics.median(ours)
    return entry


def main() -> None:
    parser = harness.options(__doc__, rounds=9)
    parser.add_argument("--only", default="", help="families, separated by commas")
    options = parser.parse_args()
    harness.confine(options.threads)
    wanted = options.only.split(",") if options.only else list(MODELS)
    if unknown := [name for name in wanted if name not in MODELS]:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(MODELS)}")
    table = [compare(family, options.rounds, options.threads) for family in wanted]
    ratios = [entry[f"{precision}, times as fast"].median for entry in table for precision in ("float32", "bfloat16")]
    facts = {"median of all": statistics.median(ratios), "lowest": min(ratios)}
    harness.show({"Forward pass": table, **facts, "machine": harness.machine()}, as_json=options.json)


if __name__ == "__main__":
    main()
