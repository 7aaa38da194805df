"""A translator from parallel files, by the command line: trained, evaluated, asked, exported; for one pair and several."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

import regard
from regard.cli.app import run
from regard.text import Tokenizer, train_tokenizer

WORDS = {
    "en": ("the", "a", "dog", "man", "runs", "sees", "old", "red"),
    "de": ("der", "ein", "Hund", "Mann", "rennt", "sieht", "alte", "rote"),
    "fr": ("le", "un", "chien", "homme", "court", "voit", "vieux", "rouge"),
}
"""Languages that differ in their words alone."""
TEXTS = [*itertools.product(range(2), (6, 7), (2, 3), (4, 5)), *itertools.product(range(2), (2, 3), (5,), range(2), (2, 3))]


def written(language: str) -> str:
    return "".join(" ".join(WORDS[language][word] for word in text) + "\n" for text in TEXTS * 6)


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parallel")
    for language in WORDS:
        (folder / f"train.{language}").write_text(written(language), encoding="utf-8")
    return folder


def trained(source: str, out: Path, *more: str) -> list[str]:
    model = "architecture.dropout=0.0 architecture.n_layers=2 tokenizer.vocab_size=120"
    training = "training.lr=0.003 training.warmup=20 batch.tokens=512 training.threads=1 training.eval_every=500"
    settings = f"{model} {training} {' '.join(more)}"
    return ["train", source, "--task", "translation", "--model", "tiny", "--out", str(out)] + [
        part for setting in settings.split() for part in ("--set", setting)
    ]


@pytest.fixture(scope="module")
def pair(parallel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pair") / "model"
    assert run(trained(str(parallel / "train.en-de"), out, "training.steps=150")) == 0
    return out


def test_a_pair_is_learned_and_asked(pair: Path, command: Callable[..., object]) -> None:
    done = command("predict", pair, "a red dog runs", "the man sees a dog", "--json")
    said = [answer["translation"] for answer in json.loads(done.out)["predictions"]]
    assert said == ["ein rote Hund rennt", "der Mann sieht ein Hund"]


def test_evaluation_tells_bleu_with_its_signature(pair: Path, parallel: Path, command: Callable[..., object]) -> None:
    found = json.loads(command("evaluate", pair, parallel / "train.en-de", "--json").out)
    assert found["metrics"]["bleu"]["value"] > 80
    assert {"bleu", "chrf", "ter", "perplexity"} == found["metrics"].keys()
    assert "tok:13a" in found["signatures"]["bleu"]


def test_another_pair_than_it_knows_is_refused(pair: Path, parallel: Path, command: Callable[..., object]) -> None:
    for verb in (("evaluate", pair, parallel / "train.en-fr"), ("predict", pair, "--input", parallel / "train.en-fr")):
        done = command(*verb)
        assert done.status == 2
        assert "unknown language 'fr'" in done.err
        assert "allowed: de" in done.err


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_it_goes_to_transformers_and_says_the_same(pair: Path, tmp_path: Path, command: Callable[..., object]) -> None:
    assert command("export", pair, tmp_path / "marian", "--family", "marian").status == 0
    theirs = transformers.MarianMTModel.from_pretrained(tmp_path / "marian").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "marian")
    texts = [" ".join(WORDS["en"][word] for word in text) for text in TEXTS]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        ids = theirs.generate(**batch, num_beams=1, do_sample=False, max_new_tokens=20)
    expected = tokenizer.batch_decode(ids, skip_special_tokens=True)
    for source in (pair, tmp_path / "marian"):
        assert [answer["translation"] for answer in regard.load(source, precision="float32").predict(texts)] == expected


def test_several_languages_share_a_model_by_their_tags(
    parallel: Path, tmp_path: Path, command: Callable[..., object]
) -> None:
    directions = "en-de,en-fr,de-en"
    assert command(*trained(str(parallel / f"train.{directions}"), tmp_path / "model", "training.steps=200")).status == 0
    for language, text, expected in (
        ("de", "a red dog runs", "ein rote Hund rennt"),
        ("fr", "a red dog runs", "un rouge chien court"),
        ("en", "ein rote Hund rennt", "a red dog runs"),
    ):
        done = command("predict", tmp_path / "model", text, "--target-language", language, "--json")
        assert json.loads(done.out)["predictions"][0]["translation"] == expected
    done = command("predict", tmp_path / "model", "a red dog runs")
    assert done.status == 2
    assert "which language to translate into?\n  allowed: de, en, fr" in done.err
    done = command("predict", tmp_path / "model", "a red dog runs", "--target-language", "fi")
    assert "unknown language 'fi'" in done.err


def test_a_summarizer_is_fine_tuned_from_any_encoder_decoder_and_goes_back(
    tmp_path: Path, command: Callable[..., object]
) -> None:
    rows = [{"text": f"the old man sees the dog {i}", "summary": "a man sees"} for i in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 200}
    config = transformers.T5Config(**sizes, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)
    torch.manual_seed(0)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    texts = [row["text"] for row in rows] + [row["summary"] for row in rows]
    train_tokenizer(texts, kind="unigram", vocab_size=60, specials="seq2seq").save(tmp_path / "t5")
    quick = ("--set", "training.steps=2", "--set", "training.threads=1", "--json")
    told = ("--task", "summarization", "--out", tmp_path / "run", *quick)
    done = command("train", tmp_path / "rows.jsonl", "--model", tmp_path / "t5", *told)
    assert done.status == 0, done.err
    assert {"rouge1", "rouge2", "rougeL", "perplexity"} <= json.loads(done.out)["metrics"].keys()
    assert command("export", tmp_path / "run", tmp_path / "back").status == 0
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "back").eval()
    ids = Tokenizer.load(tmp_path / "run").ids([texts[0]])[0]
    with torch.no_grad():
        found = theirs.generate(torch.tensor(ids), num_beams=1, do_sample=False, max_new_tokens=8)[0].tolist()
    (answer,) = regard.load(tmp_path / "run", precision="float32", decoding={"max_new_tokens": 8}).predict(texts[:1])
    assert answer["summary"] == Tokenizer.load(tmp_path / "run").decode([found])[0]
