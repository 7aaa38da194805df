"""The loss of language models and of chat models, and where answers stand, are those of transformers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import regard
from regard.checkpoints.export import export
from regard.checkpoints.folder import load
from regard.data.batch import Listed, take
from regard.models.build import filled
from regard.tasks.text_generation import TextGeneration
from regard.text import train_tokenizer

TALK = [
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "A cat 猫."},
    {"role": "user", "content": "And I?"},
    {"role": "assistant", "content": "A dog."},
]
MARKED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}A: {% generation %}{{ m.content + eos_token }}{% endgeneration %}"
    "{% else %}Q: {{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}A: {% endif %}"
)
SHAPE: dict[str, Any] = {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**SHAPE, intermediate_size=48, num_key_value_heads=1, eos_token_id=2),
    "gpt2": lambda: transformers.GPT2Config(vocab_size=260, n_embd=32, n_layer=2, n_head=2, n_positions=128, eos_token_id=2),
}


@pytest.fixture(params=CONFIGS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tiny random model with a tokenizer and a template that marks the answers."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[request.param]())
    model.save_pretrained(tmp_path)
    train_tokenizer([], kind="byte", vocab_size=260, specials="gpt").templated(MARKED).save(tmp_path)
    return tmp_path


def losses(folder: Path, rows: list[dict[str, Any]], *, chat: bool) -> tuple[float, list[dict[str, Any]]]:
    """Our mean loss over rows, and the examples."""
    loaded = load(folder)
    assert loaded.tokenizer is not None and loaded.task is not None
    task = TextGeneration.from_settings({**loaded.task, "options": {"chat": chat}})
    examples = task.encode(rows, loaded.tokenizer, max_length=128)
    held = task.arranged(Listed(examples), loaded.tokenizer, max_length=128)
    model = filled(loaded.config, loaded.head, loaded.tensors)
    loss, count = task.loss(model, take(held, np.arange(len(held))), smoothing=0.0, dtype=torch.float32)
    return float(loss) / count, examples


def test_the_answers_and_their_loss(folder: Path) -> None:
    ours, (example,) = losses(folder, [{"messages": TALK}], chat=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    theirs = tokenizer.apply_chat_template(TALK, return_assistant_tokens_mask=True, return_dict=True)
    assert [example["start"], *example["input_ids"]] == theirs["input_ids"]
    assert example["learned"] == theirs["assistant_masks"][1:]
    ids, mask = (torch.tensor([theirs[name]]) for name in ("input_ids", "assistant_masks"))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        expected = float(model(ids, labels=ids.where(mask == 1, -100)).loss)
    assert ours == pytest.approx(expected, abs=1e-5)


def test_the_loss_of_raw_text(folder: Path) -> None:
    rows = [{"text": "The cat sat."}, {"text": "A dog, too."}]
    ours, _ = losses(folder, rows, chat=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    end = tokenizer.eos_token
    ids = tokenizer(end + end.join(row["text"] for row in rows) + end, return_tensors="pt").input_ids
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        assert ours == pytest.approx(float(model(ids, labels=ids).loss), abs=1e-5)


def test_a_model_from_scratch_is_a_gpt2_for_transformers(tmp_path: Path) -> None:
    (tmp_path / "talks.jsonl").write_text("".join(json.dumps({"messages": TALK}) + "\n" for _ in range(4)))
    settings = {
        "options": {"chat": True},
        "tokenizer": {"kind": "byte"},
        "training": {"steps": 2, "threads": 1},
        "data": {"eval_share": 0.25},
    }
    data = str(tmp_path / "talks.jsonl")
    regard.train(data, task="text-generation", model="tiny", out=tmp_path / "ours", settings=settings)
    export(tmp_path / "ours", tmp_path / "theirs", family="gpt2")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "theirs", dtype=torch.float32)
    ids = tokenizer.apply_chat_template(TALK[:1], add_generation_prompt=True, return_dict=True)["input_ids"]
    loaded = load(tmp_path / "ours")
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.decode([ids], skip_special=False) == ["user:\nWho are you?<|endoftext|>\nassistant:\n"]
    assert model.generation_config.eos_token_id == loaded.tokenizer.eos_id
    ours = filled(loaded.config, loaded.head, loaded.tensors)(torch.tensor([ids]))
    with torch.no_grad():
        torch.testing.assert_close(ours, model(torch.tensor([ids])).logits, atol=1e-5, rtol=0)
