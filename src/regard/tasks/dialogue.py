"""Conversations to learn from: the model's own chat template writes them, and only the assistant's answers are learned."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np

from regard.data.batch import Examples, Part
from regard.data.dialogue import FORMS, Message, dialogue
from regard.errors import CheckpointError, DataError
from regard.metrics.tokens import spaced_words
from regard.tasks.task import Example, Row
from regard.text.answers import Answered, answered
from regard.text.chat import ChatTemplate
from regard.text.encoding import Encoding
from regard.text.tokenizer import Tokenizer

PLAIN = (
    "{% for message in messages %}{{ message['role'] + ':\\n' + message['content'] + eos_token + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\\n' }}{% endif %}"
)
"""The chat template of a model that is trained from scratch. A line end stands before each answer, which no vocabulary of
ours joins with a word, so that what is learned is what will be asked."""


def template_of(tokenizer: Tokenizer) -> ChatTemplate:
    """The model's chat template. Raises CheckpointError where it has none."""
    if tokenizer.chat_template is None:
        allowed = "chat_template.jinja, or chat_template in tokenizer_config.json"
        fix = "take a model that was trained to chat, add a template to its folder, or train one from scratch"
        raise CheckpointError("the model has no chat template", allowed=allowed, fix=fix)
    return tokenizer.chat_template


def check(tokenizer: Tokenizer) -> None:
    """Raises CheckpointError for a model without a chat template, or with one whose answers cannot be found."""
    turns = [Message(role="user", content="a"), Message(role="assistant", content="b")]
    answered(template_of(tokenizer), turns * 2)


def spoken(rows: Iterable[Row]) -> Iterator[str]:
    """All that is said in conversations, and the names of those who speak, for a vocabulary to be learned from."""
    for row in rows:
        for message in dialogue(row):
            yield f"{message['role']}:\n"
            yield message["content"]


def encoded(rows: Sequence[Row], tokenizer: Tokenizer, *, stop: Collection[int], max_length: int | None) -> list[Example]:
    """A conversation as `start`, its first token, and `input_ids`, the others, of which those are `learned` (1, else 0) that
    are an answer up to the token of `stop` that ends it.

    A conversation of more tokens than max_length loses its first question with its answer, and so on until it fits
    (`truncated`); the system's message stays. Where even the last question with its answer is too long, nothing of it is
    learned, and it is `left_out`. `characters` and `words` (:func:`~regard.metrics.tokens.spaced_words`) are those of the
    answers; the end of one counts as one of each. A row with a `text` alone is a question without an answer.
    """
    template = template_of(tokenizer)
    talks = [_messages(row) for row in rows]
    texts = [answered(template, talk) for talk in talks]
    encodings = tokenizer.encode([text.text for text in texts], special=False)
    examples = []
    for messages, text, encoding in zip(talks, texts, encodings, strict=True):
        talk, cut = messages, False
        while max_length is not None and len(encoding.ids) > max_length and (shorter := without_first(talk)) is not None:
            talk, cut = shorter, True
            text = answered(template, talk)
            (encoding,) = tokenizer.encode([text.text], special=False)
        fits = max_length is None or len(encoding.ids) <= max_length
        examples.append(_example(talk, text, encoding, stop, fits=fits, cut=cut))
    return examples


def without_first(messages: Sequence[Message]) -> list[Message] | None:
    """A conversation without its first question and the answer to it; None if there is only one question."""
    system = int(messages[0]["role"] == "system")
    shorter = [*messages[:system], *messages[system + 2 :]]
    return shorter if len(shorter) > system else None


def _messages(row: Row) -> list[Message]:
    if "text" in row and not any(form[0] in row for form in FORMS):
        return [Message(role="user", content=row["text"])]
    return dialogue(row)


def _example(
    messages: Sequence[Message], text: Answered, encoding: Encoding, stop: Collection[int], *, fits: bool, cut: bool
) -> Example:
    said = [message["content"] for message in messages if message["role"] == "assistant"]
    ids = encoding.ids if fits else encoding.ids[:2]
    learned = _learned(text, encoding, stop) if fits else [0] * len(ids)
    return Example(
        input_ids=ids[1:],
        start=ids[0],
        learned=learned[1:],
        characters=sum(len(content) + 1 for content in said),
        words=sum(len(spaced_words(content)) + 1 for content in said),
        truncated=int(cut and fits),
        left_out=int(not fits),
    )


def _learned(text: Answered, encoding: Encoding, stop: Collection[int]) -> list[int]:
    """1 for each token of an answer, up to the last one that ends a text."""
    learned = [0] * len(encoding.ids)
    starts, stops = np.array(encoding.offsets).T
    for begin, end in text.answers:
        # a token that an answer shares with what stands before it is learned too: else its first word would not be
        inside = np.flatnonzero((stops > begin) & (starts < end)).tolist()
        last = max((place for place in inside if encoding.ids[place] in stop), default=max(inside, default=-1))
        for place in inside:
            learned[place] = int(place <= last)
    return learned


class Fitting(Part):
    """Conversations without those that are left out. Raises DataError if that is all of them."""

    def __init__(self, talks: Examples) -> None:
        every = np.arange(len(talks))
        fits = np.asarray(talks.gather(every)["left_out"]) == 0
        if len(talks) and not fits.any():
            fix = "shorten the answers, raise batch.max_length, or take a model with more positions"
            raise DataError("no conversation fits the model, not even its last question with the answer", fix=fix)
        super().__init__(talks, every[fits])
        cut, gone = _too_long(talks)
        self.counts = {"measured": len(self), "without their first turns": cut, "left out": gone}
        """What became of all of them."""


def _too_long(talks: Examples) -> tuple[int, int]:
    """How many lost their first turns, and how many are left out."""
    columns = talks.gather(np.arange(len(talks)))
    cut, gone = (int(np.sum(columns[name])) for name in ("truncated", "left_out"))
    return cut, gone


def told(talks: Examples, *, max_length: int) -> Iterator[str]:
    """What became of those that are too long, in words."""
    cut, gone = _too_long(talks)
    of = f"of {len(talks)} conversations"
    if cut:
        yield f"{cut} {of} are longer than {max_length} tokens: their first questions and answers were left out"
    if gone:
        yield f"{gone} {of} were left out: their last question and answer alone are longer than {max_length} tokens"
