"""A conversation: what is kept, what is let go, and that pieces of an answer are the answer."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import DataError
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model
from regard.tasks.chatting import Conversation, pieces, written
from regard.tasks.decoding import Generation
from regard.tasks.dialogue import PLAIN
from regard.tasks.generation import continuations
from regard.text import Tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def bytewise() -> Tokenizer:
    return train_tokenizer([], kind="byte", vocab_size=259, specials="gpt").templated(PLAIN)


def made(positions: int = 64) -> Model:
    config = ModelConfig(kind="decoder", vocab_size=259, d_model=16, n_layers=1, n_heads=2, d_ff=32, max_positions=positions)
    torch.manual_seed(3)
    head = HeadConfig(over="vocabulary", dense=False, dropout=0.0, n_outputs=259)
    return build(config, head).eval().requires_grad_(False)


def conversation(tokenizer: Tokenizer, *, positions: int = 64, system: str | None = None) -> Conversation:
    generation = Generation(max_new_tokens=4)
    return Conversation(made(positions), generation, tokenizer, system=system, dtype=torch.float32)


@given(text=st.text())
def test_pieces_are_the_text(text: str) -> None:
    tokenizer = train_tokenizer([], kind="byte", vocab_size=259, specials="gpt")
    ids = tokenizer.ids([text])[0][0]
    found = list(pieces(iter(ids), tokenizer))
    assert "".join(found) == text
    assert all(found)
    if "\ufffd" not in text:
        assert found == list(text), "a character comes as soon as its last byte is there, and not before"


def test_bytes_that_make_no_character_come_last(bytewise: Tokenizer) -> None:
    ids = bytewise.ids(["a猫"])[0][0]
    assert list(pieces(iter(ids[:-1]), bytewise)) == ["a", "\ufffd"]


@pytest.mark.parametrize("suppressed", [None, (50, 60, 70)])
def test_tokens_are_those_of_the_greedy_search(suppressed: Sequence[int] | None, bytewise: Tokenizer) -> None:
    model, prompt = made(), bytewise.ids(["hello"])[0][0]
    generation = Generation(suppress_tokens=None if suppressed is None else tuple(suppressed))
    for stop in (frozenset[int](), frozenset({0, 17, 100, 200})):
        tokens = written(model, prompt, generation, stop=stop, longest=12, dtype=torch.float32)
        told = generation.model_copy(update={"eos_token_id": tuple(sorted(stop))})
        (expected,) = continuations(model, [prompt], told, bytewise, dtype=torch.float32, default=12)
        assert list(tokens) == expected[0].tokens


def test_what_was_said_is_kept(bytewise: Tokenizer) -> None:
    talk = conversation(bytewise, positions=128, system="Be kind.")
    first = "".join(talk.say("Hi"))
    second = "".join(talk.say("And?"))
    assert talk.messages == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": second},
    ]
    again = conversation(bytewise, positions=128, system="Be kind.")
    again.messages = talk.messages[:3]
    assert "".join(again.say("And?")) == second, "the answer hangs on what was said alone"


def test_an_answer_that_is_broken_off_was_never_said(bytewise: Tokenizer) -> None:
    talk = conversation(bytewise)
    answer = talk.say("Hi")
    next(answer)
    answer.close()
    assert talk.messages == []


def test_the_oldest_questions_are_let_go_with_their_answers(bytewise: Tokenizer) -> None:
    talk = conversation(bytewise, positions=72, system="Be kind.")
    for number in range(4):
        "".join(talk.say(f"{number}?"))
        roles = [message["role"] for message in talk.messages]
        assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)]
        assert talk.messages[-2]["content"] == f"{number}?"
        assert talk.forgotten + len(roles) // 2 == number + 1
    assert talk.forgotten > 0


@pytest.mark.parametrize(
    ("text", "says"),
    [("  ", "an empty message"), ("x" * 60, "message: 79 tokens"), ("\ud800", "half a surrogate pair")],
)
def test_what_cannot_be_said_changes_nothing(text: str, says: str, bytewise: Tokenizer) -> None:
    talk = conversation(bytewise)
    with pytest.raises(DataError, match=says):
        next(talk.say(text))
    assert (talk.messages, talk.forgotten) == ([], 0)
