"""Language models and partners for a conversation, from the command line: trained, measured, asked, talked with."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

LINES = ["the cat sat on the mat", "a dog sat on the rug", "the dog saw a cat"] * 8
TALKS = [
    {"messages": [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "A cat 猫."}]},
    {"messages": [{"role": "user", "content": "And I?"}, {"role": "assistant", "content": "A dog."}]},
] * 10
QUICK = ("--model", "tiny", "--set", "training.threads=1", "--set", "batch.rows=8", "--json")
METRICS = {"loss", "perplexity", "bits_per_character", "word_perplexity"}


@pytest.fixture(scope="session")
def partner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned two answers by heart; not to be changed."""
    from regard import train

    folder = tmp_path_factory.mktemp("partner")
    (folder / "talks.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in TALKS), encoding="utf-8")
    settings = {
        "options": {"chat": True},
        "tokenizer": {"kind": "byte"},
        "architecture": {"max_positions": 96},
        "training": {"steps": 80, "lr": 0.005, "threads": 1},
        "batch": {"rows": 8},
    }
    train(str(folder / "talks.jsonl"), task="text-generation", model="tiny", out=folder / "model", settings=settings)
    return folder / "model"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """`said(b"…")` is what standard input holds."""

    def give(text: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text), encoding="utf-8"))

    return give


@pytest.mark.parametrize("packing", ["stream", "documents"])
def test_a_language_model(command, tmp_path, packing):
    (tmp_path / "x.txt").write_text("\n".join(LINES))
    options = ("--set", f"options.packing={packing}", "--set", "options.block=16", "--set", "tokenizer.kind=word")
    out = tmp_path / "model"
    done = command("train", tmp_path / "x.txt", "--task", "text-generation", "--out", out, *QUICK, *options, "--set",
                   "training.steps=3")  # fmt: skip
    assert done.status == 0, done.err
    result = json.loads(done.out)
    assert result["metrics"].keys() == METRICS
    assert f"{sum(len(line.split()) + 1 for line in LINES)} tokens of 24 rows" in done.err
    assert "the model reads 1024 tokens at once; of these places only the first 16 are learned here" in done.err
    measured = json.loads(command("evaluate", out, tmp_path / "x.txt", "--json").out)
    assert measured["tokens"] == sum(len(line.split()) + 1 for line in LINES)
    loss = measured["metrics"]["loss"]["value"]
    assert measured["metrics"]["word_perplexity"]["value"] == pytest.approx(math.exp(loss), rel=1e-6)
    answers = json.loads(command("predict", out, "the cat", "", "--json").out)["predictions"]
    assert [each["text"] for each in answers] == ["the cat", ""]


def test_documents_of_a_file(command, tmp_path):
    (tmp_path / "x.txt").write_text("\n\n".join("\n".join(LINES[i : i + 3]) for i in range(0, 24, 3)))
    common = ("train", tmp_path / "x.txt", "--task", "text-generation", *QUICK, "--set", "training.steps=1")
    done = command(*common, "--out", tmp_path / "a", "--set", "options.documents=blank")
    assert "of 8 rows in blocks of 1024" in done.err
    done = command(*common, "--out", tmp_path / "b")
    assert done.status == 2
    assert (
        "row 4 (line 4), column text: the text is empty\n  fix: remove the row, or set options.documents=blank" in done.err
    )
    done = command(*common, "--out", tmp_path / "c", "--set", "options.documents=file")
    assert (done.status, "1 rows are too few to hold 10% out" in done.err) == (2, True)


def test_wrong_options(command, tmp_path):
    (tmp_path / "x.txt").write_text("\n".join(LINES))
    common = ("train", tmp_path / "x.txt", "--task", "text-generation", "--out", tmp_path / "a", *QUICK)
    done = command(*common, "--set", "options.block=5000")
    assert done.status == 2
    assert done.err.strip().splitlines()[-3:] == [
        "regard: options.block: 5000 tokens",
        "  allowed: at most 1024, what the model reads at once",
        "  fix: lower it, or raise architecture.max_positions of a model from scratch",
    ]
    done = command(*common, "--set", "options.packing=tight")
    assert (done.status, "'stream' or 'documents'" in done.err) == (2, True)
    done = command(*common, "--set", "options.chat=true")
    assert done.status == 2
    assert "no column 'messages'" in done.err
    assert not (tmp_path / "a").exists()


def test_a_partner(command, partner, said):
    task = json.loads((partner / "task.json").read_text())
    assert task["options"] == {"chat": True, "documents": "line", "packing": "stream"}
    measured = json.loads(command("evaluate", partner, partner.parent / "talks.jsonl", "--json").out)
    assert measured["metrics"]["perplexity"]["value"] < 1.1
    answers = json.loads(command("predict", partner, "Who are you?", "And I?", "--json").out)["predictions"]
    assert [each["generated"] for each in answers] == ["A cat 猫.", "A dog."]
    said(b"Who are you?\n\n  \n")
    assert command("chat", partner).out == "A cat 猫.\n"
    said(b"And I?\nWho are you?")
    done = command("chat", partner, "--json")
    found = json.loads(done.out)
    assert [(each["text"], each["forgotten"]) for each in found["answers"]] == [("And I?", 0), ("Who are you?", 0)]
    assert found["answers"][0]["generated"] == "A dog."


def test_a_conversation_that_no_longer_fits(command, partner, said):
    said(b"Who are you?\n" * 4)
    done = command("chat", partner, "--json")
    forgotten = [each["forgotten"] for each in json.loads(done.out)["answers"]]
    assert forgotten == sorted(forgotten)
    assert 0 == forgotten[0] < forgotten[-1]
    assert "the conversation no longer fits the model: its first" in done.err


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (b"x" * 200, (), "message: 219 tokens\n  allowed: at most 95"),
        (b"\xff\xfe\n", (), "standard input: not UTF-8"),
        (b"Hi\n", ("--system", "x" * 100), "tokens\n  allowed: at most 95"),
    ],
    ids=["too long", "no text", "a long system message"],
)
def test_what_cannot_be_said(command, partner, said, text, options, says):
    said(text)
    done = command("chat", partner, *options)
    assert done.status == 2
    assert says in done.err
    assert "Traceback" not in done.err


def test_at_a_terminal_one_wrong_message_ends_nothing(command, partner, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(f"{'x' * 200}\nAnd I?\n"))
    done = command("chat", partner)
    assert (done.status, done.out) == (0, "A dog.\n")
    assert "message: 219 tokens" in done.err
    assert done.err.count("> ") == 3


def test_models_that_do_not_talk(command, trained, said, tmp_path):
    said(b"Hi\n")
    done = command("chat", trained)
    assert (done.status, "a model for text-classification does not converse" in done.err) == (2, True)
    (tmp_path / "x.txt").write_text("\n".join(LINES))
    out = tmp_path / "model"
    command("train", tmp_path / "x.txt", "--task", "text-generation", "--out", out, *QUICK, "--set", "training.steps=1")
    done = command("chat", out)
    assert (done.status, "the model has no chat template" in done.err) == (2, True)
    talks = tmp_path / "talks.jsonl"
    talks.write_text(json.dumps(TALKS[0]) + "\n" + json.dumps(TALKS[1]) + "\n")
    command_line = ("train", talks, "--task", "text-generation", "--model", out, "--set", "options.chat=true")
    done = command(*command_line, "--out", tmp_path / "b", "--set", "data.eval_share=0.5")
    assert (done.status, "the model has no chat template" in done.err) == (2, True)
    assert not (tmp_path / "b").exists()
