"""Learning to write: every token of raw text is foreseen once, of a conversation the assistant's answers, and no other."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import regard
from regard.data.batch import Listed, plan, take
from regard.errors import CheckpointError, ConfigError, DataError
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model
from regard.tasks.dialogue import PLAIN
from regard.tasks.forcing import UNCOUNTED, Told
from regard.tasks.task import learnable
from regard.tasks.text_generation import TextGeneration
from regard.text import Tokenizer, train_tokenizer

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "another", "cat"]
few = settings(deadline=None, max_examples=25)


def made(vocab_size: int, **changes: Any) -> Model:
    config = ModelConfig(
        kind="decoder", vocab_size=vocab_size, d_model=16, n_layers=2, n_heads=2, d_ff=32, max_positions=64, dropout=0.0
    )
    torch.manual_seed(0)
    head = HeadConfig(over="vocabulary", dense=False, bias=False, dropout=0.0, n_outputs=vocab_size)
    return build(config.model_copy(update={"attention_dropout": 0.0, **changes}), head).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def bytewise() -> Tokenizer:
    return train_tokenizer([], kind="byte", vocab_size=259, specials="gpt")


@pytest.fixture(scope="module")
def talkative() -> Tokenizer:
    return train_tokenizer([], kind="byte", vocab_size=259, specials="gpt").templated(PLAIN)


def task(**options: Any) -> TextGeneration:
    found = learnable("text-generation")
    assert issubclass(found, TextGeneration)
    return found.from_settings({"options": options})


def told_of(rows: list[dict[str, Any]], tokenizer: Tokenizer, each: TextGeneration, *, tokens: int) -> list[Told]:
    """What the model is told of all rows, batch after batch."""
    examples = each.arranged(Listed(each.encode(rows, tokenizer, max_length=64)), tokenizer, max_length=64)
    return [each.forced(take(examples, numbers)) for numbers in plan(examples.sizes, tokens=tokens, seed=3)]


DOCUMENTS = st.lists(
    st.tuples(st.text("abc ", min_size=1, max_size=20).filter(str.strip), st.booleans()), min_size=1, max_size=12
)


class TestRawText:
    @few
    @given(
        documents=DOCUMENTS,
        packing=st.sampled_from(["stream", "documents"]),
        block=st.integers(1, 30),
        tokens=st.integers(1, 90),
    )
    def test_every_token_is_foreseen_once_from_the_one_before(self, bytewise, documents, packing, block, tokens) -> None:
        rows = [{"text": text, "continues": goes_on} for text, goes_on in documents]
        end = bytewise.eos_id
        pairs = []
        before = end
        for text, goes_on in documents:
            for token in [*bytewise.ids([text])[0][0], *([] if goes_on else [end])]:
                pairs.append((before, token))
                before = token
        found = []
        for told in told_of(rows, bytewise, task(packing=packing, block=block), tokens=tokens):
            real = told.labels != UNCOUNTED
            assert told.count == int(real.sum()) == len(told.rows)
            found += zip(told.ids[real].tolist(), told.labels[real].tolist(), strict=True)
        assert sorted(found) == sorted(pairs)

    @few
    @given(documents=DOCUMENTS, packing=st.sampled_from(["stream", "documents"]), block=st.integers(2, 30))
    def test_the_loss_is_plain_cross_entropy(self, bytewise, documents, packing, block) -> None:
        each, model = task(packing=packing, block=block), made(bytewise.vocab_size)
        rows = [{"text": text} for text, _ in documents]
        examples = each.arranged(Listed(each.encode(rows, bytewise, max_length=64)), bytewise, max_length=64)
        loss, count = each.loss(model, take(examples, np.arange(len(examples))), smoothing=0.0, dtype=torch.float32)
        texts = [[bytewise.eos_id, *bytewise.ids([text])[0][0], bytewise.eos_id] for text, _ in documents]
        if packing == "stream":
            texts = [[bytewise.eos_id, *(token for text in texts for token in text[1:])]]
        plain, tokens = 0.0, 0
        for text in texts:
            for start in range(0, len(text) - 1, block):
                part = torch.tensor([text[start : start + block + 1]])
                scores = model(part[:, :-1])
                plain += float(torch.nn.functional.cross_entropy(scores[0], part[0, 1:], reduction="sum"))
                tokens += part.shape[1] - 1
        assert count == tokens
        assert float(loss) == pytest.approx(plain, rel=1e-5)

    def test_what_is_measured_is_exact(self, bytewise: Tokenizer) -> None:
        each, model = task(block=8, validate_on=1), made(bytewise.vocab_size)
        rows = [{"text": "a cat sat"}, {"text": "on the mat\nof"}]
        examples = each.arranged(Listed(each.encode(rows, bytewise, max_length=64)), bytewise, max_length=64)
        measured = each.measure(model, examples, bytewise, dtype=torch.float32)
        batch = take(examples, np.arange(len(examples)))
        loss, count = each.loss(model, batch, smoothing=0.0, dtype=torch.float32)
        nats = float(loss) / count
        assert measured.tables == {"tokens": count} == {"tokens": 9 + 13 + 2}
        values = {name: metric["value"] for name, metric in measured.metrics.items()}
        assert values["loss"] == pytest.approx(nats, rel=1e-6)
        assert values["perplexity"] == pytest.approx(np.exp(nats), rel=1e-5)
        assert values["bits_per_character"] == pytest.approx(nats / np.log(2), rel=1e-6), "a byte is a character here"
        assert values["word_perplexity"] == pytest.approx(np.exp(float(loss) / (3 + 4 + 2)), rel=1e-5)
        quick = each.measure(model, examples, bytewise, dtype=torch.float32, quick=True)
        assert quick.tables == {"tokens": 10}

    def test_documents_apart_do_not_see_each_other(self, bytewise: Tokenizer) -> None:
        model = made(bytewise.vocab_size)
        losses = {}
        for packing in ("stream", "documents"):
            each = task(packing=packing, block=32)
            for first in ("abc", "xyz"):
                rows = [{"text": first}, {"text": "the same"}]
                examples = each.arranged(Listed(each.encode(rows, bytewise, max_length=64)), bytewise, max_length=64)
                assert len(examples) == 1
                told = each.forced(take(examples, np.array([0])))
                hidden = model.hidden(told.ids, ragged=told.layout)
                losses[packing, first] = hidden[np.flatnonzero(told.rows == 1)]
        torch.testing.assert_close(losses["documents", "abc"], losses["documents", "xyz"])
        assert not torch.allclose(losses["stream", "abc"], losses["stream", "xyz"], atol=1e-3)

    def test_a_tokenizer_that_puts_tokens_around_texts(self, tmp_path: Path) -> None:
        """Its first token begins every document, its last one ends it, and neither comes twice."""
        train_tokenizer([], kind="byte", vocab_size=260, specials="seq2seq").save(tmp_path)
        inner = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        around = [("<s>", inner.token_to_id("<s>")), ("</s>", inner.token_to_id("</s>"))]
        pair = "<s> $A </s> $B </s>"
        inner.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A </s>", pair=pair, special_tokens=around
        )
        inner.save(str(tmp_path / "tokenizer.json"))
        roberta = Tokenizer.load(tmp_path)
        rows = [{"text": "ab"}, {"text": "c", "continues": True}, {"text": "d"}]
        (told,) = told_of(rows, roberta, task(), tokens=64)
        real = told.labels != UNCOUNTED
        assert roberta.tokens(told.ids[real].tolist()) == ["<s>", "a", "b", "<s>", "c", "d"]
        assert roberta.tokens(told.labels[real].tolist()) == ["a", "b", "</s>", "c", "d", "</s>"]
        assert task().starting(roberta, None).start is None, "what is to go on begins so by itself"

    def test_a_tokenizer_without_an_end(self) -> None:
        bert = train_tokenizer([" ".join(WORDS)] * 2, kind="char", vocab_size=60, specials="bert")
        with pytest.raises(CheckpointError, match="no token that ends a text"):
            task().encode([{"text": "a cat"}], bert, max_length=64)

    def test_a_block_longer_than_the_model(self, bytewise: Tokenizer) -> None:
        with pytest.raises(ConfigError) as caught:
            task(block=65).encode([{"text": "a"}], bytewise, max_length=64)
        assert str(caught.value).startswith("options.block: 65 tokens\n  allowed: at most 64")


TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "A cat."},
    {"role": "user", "content": "And I?"},
    {"role": "assistant", "content": "A dog."},
]


def test_an_encoder_cannot_foresee(bytewise: Tokenizer) -> None:
    with pytest.raises(ConfigError, match=r"model: the model is an encoder\n  allowed: a decoder"):
        task().head(None, ModelConfig(vocab_size=9, d_model=8, n_layers=1, n_heads=2, d_ff=8))


class TestConversations:
    def learned(self, example: dict[str, Any], tokenizer: Tokenizer) -> str:
        ids = [token for token, wanted in zip(example["input_ids"], example["learned"], strict=True) if wanted]
        return tokenizer.decode([ids], skip_special=False)[0]

    def test_the_answers_are_learned_up_to_their_end(self, talkative: Tokenizer) -> None:
        (example,) = task(chat=True).encode([{"messages": TALK}], talkative, max_length=None)
        whole = talkative.chat(TALK, generation_prompt=False)
        assert talkative.decode([[example["start"], *example["input_ids"]]], skip_special=False) == [whole]
        assert self.learned(example, talkative) == "A cat.<|endoftext|>A dog.<|endoftext|>"
        assert (example["characters"], example["words"]) == (14, 6)
        assert (example["truncated"], example["left_out"]) == (0, 0)

    @pytest.mark.parametrize(
        "row",
        [
            {"messages": TALK[1:3]},
            {"conversations": [{"from": "human", "value": "Who are you?"}, {"from": "gpt", "value": "A cat."}]},
            {"instruction": "Who are you?", "input": "", "output": "A cat."},
        ],
    )
    def test_every_form_is_the_same(self, row: dict[str, Any], talkative: Tokenizer) -> None:
        (example,) = task(chat=True).encode([row], talkative, max_length=None)
        assert self.learned(example, talkative) == "A cat.<|endoftext|>"

    def test_long_ones_lose_whole_turns_at_the_front(self, talkative: Tokenizer) -> None:
        each = task(chat=True)
        shorter = talkative.chat([TALK[0], *TALK[3:]], generation_prompt=False)
        length = len(talkative.encode([shorter], special=False)[0].ids)
        (example,) = each.encode([{"messages": TALK}], talkative, max_length=length)
        assert talkative.decode([[example["start"], *example["input_ids"]]], skip_special=False) == [shorter]
        assert (example["truncated"], example["left_out"]) == (1, 0)
        rows = [{"messages": TALK}, {"messages": TALK}, {"messages": TALK[3:]}]
        examples = Listed(each.encode(rows, talkative, max_length=length - 1))
        assert list(each.noted(examples, max_length=length - 1)) == [
            f"2 of 3 conversations were left out: their last question and answer alone are longer than {length - 1} tokens"
        ]
        fitting = each.arranged(examples, talkative, max_length=length - 1)
        assert [self.learned(dict(kept), talkative) for kept in fitting] == ["A dog.<|endoftext|>"]
        measured = each.measure(made(talkative.vocab_size, max_positions=256), fitting, talkative, dtype=torch.float32)
        told = [{"measured": 1, "without their first turns": 0, "left out": 2}]
        assert measured.tables == {"tokens": 7, "conversations": told}
        none = Listed(each.encode(rows, talkative, max_length=4))
        with pytest.raises(DataError, match=r"no conversation fits the model[^\0]*raise batch\.max_length"):
            each.arranged(none, talkative, max_length=4)

    def test_the_loss_is_that_of_the_answers(self, talkative: Tokenizer) -> None:
        each, model = task(chat=True), made(talkative.vocab_size, max_positions=256)
        rows = [{"messages": TALK}, {"messages": TALK[1:3]}]
        examples = each.arranged(Listed(each.encode(rows, talkative, max_length=256)), talkative, max_length=256)
        loss, count = each.loss(model, take(examples, np.arange(2)), smoothing=0.0, dtype=torch.float32)
        plain = 0.0
        for example in examples:
            ids = torch.tensor([[example["start"], *example["input_ids"]]])
            costs = torch.nn.functional.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:], reduction="none")
            plain += float((costs * torch.tensor(example["learned"])).sum())
        assert count == 2 * len("A cat.") + len("A dog.") + 3
        assert float(loss) == pytest.approx(plain, rel=1e-5)
        measured = each.measure(model, examples, talkative, dtype=torch.float32)
        assert measured.tables["tokens"] == count
        assert measured.metrics["loss"]["value"] == pytest.approx(plain / count, rel=1e-5)

    def test_without_a_template_there_is_no_conversation(self, bytewise: Tokenizer) -> None:
        with pytest.raises(CheckpointError, match="the model has no chat template"):
            task(chat=True).starting(bytewise, {})

    def test_a_template_that_cannot_be_followed(self, bytewise: Tokenizer) -> None:
        odd = bytewise.templated("{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}")
        with pytest.raises(CheckpointError, match="its answers cannot be found"):
            task(chat=True).starting(odd, {})

    def test_options_for_raw_text(self) -> None:
        with pytest.raises(ConfigError) as caught:
            task(chat=True, block=8, packing="documents")
        assert "options.packing: is for raw text" in str(caught.value)
        assert "options.block: is for raw text" in str(caught.value)


@pytest.mark.parametrize("chat", [False, True])
def test_settings_come_back(chat: bool) -> None:
    each = TextGeneration.from_settings({"options": {"chat": chat, "validate_on": 3}, "generation": {"eos_token_id": 2}})
    assert TextGeneration.from_settings(json.loads(json.dumps(each.settings()))) == each


def test_from_scratch_it_writes_what_it_has_learned(tmp_path: Path) -> None:
    """A model that has seen one sentence goes on with it, from nothing, and stops where it stopped."""
    (tmp_path / "x.txt").write_text(f"{' '.join(WORDS)}\n" * 40)
    out = tmp_path / "model"
    result = regard.train(
        str(tmp_path / "x.txt"),
        task="text-generation",
        model="tiny",
        out=out,
        settings={
            "options": {"packing": "documents", "block": 24},
            "tokenizer": {"kind": "word"},
            "training": {"steps": 40, "threads": 1, "lr": 0.01},
            "batch": {"rows": 8},
        },
    )
    assert result.metrics["perplexity"]["value"] < 1.2
    predictor = regard.load(out, precision="float32")
    assert [each["generated"] for each in predictor.predict(["", "the cat sat"])] == [" ".join(WORDS), " ".join(WORDS[3:])]


@pytest.mark.parametrize("packing", ["stream", "documents"])
def test_a_run_that_was_stopped_goes_on_exactly(packing: str, tmp_path: Path) -> None:
    """The order of the blocks, too, is a function of seed and epoch: also of a held-out share, and over several epochs."""
    (tmp_path / "x.txt").write_text("".join(f"{WORDS[i % 10]} {' '.join(WORDS[: i % 7])}\n" for i in range(60)))
    settings = {
        "options": {"packing": packing, "block": 16},
        "tokenizer": {"kind": "char"},
        "training": {"steps": 12, "threads": 1, "checkpoint_every": 5, "eval_every": 6, "dropout": 0.1},
        "batch": {"rows": 8, "accumulate": 2},
    }

    def stopping(event: dict[str, Any]) -> None:
        if (event["event"], event.get("step")) == ("step", 8):
            raise RuntimeError("stopped")

    common: dict[str, Any] = {"task": "text-generation", "model": "tiny", "settings": settings}
    regard.train(str(tmp_path / "x.txt"), **common, out=tmp_path / "a")
    with pytest.raises(RuntimeError, match="stopped"):
        regard.train(str(tmp_path / "x.txt"), **common, out=tmp_path / "b", listeners=[stopping])
    heard: list[dict[str, Any]] = []
    regard.train(str(tmp_path / "x.txt"), **common, out=tmp_path / "b", listeners=[heard.append])
    assert next(event for event in heard if event["event"] == "start")["step"] == 5
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert first == second
