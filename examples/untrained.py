"""Models that have learned nothing, one a task, to try commands with: `python examples/untrained.py` makes `untrained/TASK`.

Each is a tiny BERT, or GPT-2 where text is written, with random weights in Hugging Face layout. Its answers mean nothing;
their form is that of any checkpoint with such an output layer.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from regard.checkpoints import export_hf, load, save_model
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.text import train_tokenizer

TEXTS = (
    "Who wrote the play? William Shakespeare wrote it in London, and it was first played in 1600.",
    "The bread was warm and the bill was fair. The room was dark, and nobody answered the telephone.",
    "中国的首都是北京。他去图书馆拿书，我今天很高兴。",
)
"""What the vocabulary is learned from."""

LABELS = {
    "text-classification": ["bad", "good"],
    "regression": ["stars"],
    "token-classification": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
}
"""What outputs are called, where they have names."""


def main(folder: Path) -> None:
    """Write the models."""
    tokenizer = train_tokenizer(TEXTS * 2, kind="wordpiece", vocab_size=300, lower_case=True)
    words = tokenizer.vocab_size
    heads = {
        "text-classification": HeadConfig(n_outputs=2),
        "regression": HeadConfig(n_outputs=1),
        "multiple-choice": HeadConfig(n_outputs=1),
        "token-classification": HeadConfig(over="tokens", dense=False, n_outputs=5),
        "question-answering": HeadConfig(over="tokens", dense=False, n_outputs=2),
        "fill-mask": HeadConfig(over="vocabulary", activation="gelu", norm=True, dropout=0.0, n_outputs=words),
        "text-generation": HeadConfig(over="vocabulary", dense=False, bias=False, dropout=0.0, n_outputs=words),
    }
    sizes = {"vocab_size": words, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64, "max_positions": 64}
    bert = ModelConfig(n_types=2, norm_place="post", embedding_norm=True, **sizes)
    gpt2 = ModelConfig(kind="decoder", activation="gelu-tanh", **sizes)
    torch.manual_seed(0)
    for name, head in heads.items():
        model = build(gpt2 if name == "text-generation" else bert, head)
        for tensor in model.state_dict().values():
            if tensor.ndim > 1:
                tensor.normal_(std=0.3)  # far enough apart for answers that differ
        labels = {"labels": LABELS[name]} if name in LABELS else {}
        with TemporaryDirectory() as ours:
            save_model(Path(ours), model, tokenizer=tokenizer, task={"task": name, **labels})
            export_hf(load(ours), folder / name, family="gpt2" if name == "text-generation" else "bert")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "untrained"))
