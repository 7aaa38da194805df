"""`regard export`: a folder that the reference loads and that answers the same; what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

import regard
from regard.checkpoints.tensors import read_weights


@pytest.fixture(scope="module")
def theirs(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT that transformers saved, with the tokenizer of the trained model."""
    folder = tmp_path_factory.mktemp("theirs")
    tokenizer = regard.load(trained).tokenizer
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=tokenizer.vocab_size, initializer_range=0.5, num_labels=3, **sizes)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save(folder)
    return folder


def test_an_export_answers_the_same_in_transformers(command: Callable, theirs: Path, tmp_path: Path):
    done = command("export", theirs, tmp_path / "out", "--json")
    assert (done.status, json.loads(done.out)) == (0, {"out": str(tmp_path / "out"), "format": "hf"})
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    texts = ["a fine film", "a dull and very stupid story"]
    with torch.inference_mode():
        expected = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.softmax(-1)
    answers = regard.load(tmp_path / "out", precision="float32").predict(texts)
    assert [answer["label"] for answer in answers] == [model.config.id2label[int(i)] for i in expected.argmax(-1)]
    scores = torch.tensor([list(answer["scores"].values()) for answer in answers])
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_numbers_are_written_as_asked(command: Callable, theirs: Path, tmp_path: Path):
    assert command("export", theirs, tmp_path, "--dtype", "bfloat16").status == 0
    assert {tensor.dtype for tensor in read_weights(tmp_path).values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "this model was made from scratch\n  allowed: "),
        (("--family", "brt"), "did you mean 'bert'?"),
        (("--family", "bert"), "head.pool is 'mean'\n  allowed: 'first' in the family 'bert'"),
        (("--to", "onxx"), "unknown export format 'onxx'\n  allowed: hf"),
        (("--family", "bert", "--dtype", "int3"), "dtype is 'int3'\n  allowed: stored, float32, bfloat16, float16"),
    ],
)
def test_what_cannot_be_exported_is_told(
    command: Callable, trained: Path, tmp_path: Path, options: tuple[str, ...], says: str
):
    done = command("export", trained, tmp_path / "out", *options)
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert not (tmp_path / "out").exists()


def test_a_model_is_not_written_over_itself(command: Callable, trained: Path):
    before = (trained / "config.json").read_bytes()
    done = command("export", trained, trained, "--family", "bert")
    assert done.status == 2
    assert "the model's own folder" in done.err
    assert (trained / "config.json").read_bytes() == before
