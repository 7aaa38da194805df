"""Every kind of tokenizer with its vocabulary, made once for all tests."""

import tempfile
from functools import cache
from pathlib import Path

from tests.parity.test_tokenizers import KINDS, ROWS

from regard.decoding.vocabulary import Vocabulary
from regard.text import Tokenizer, train_tokenizer

TRAINED = ("wordpiece", "bpe", "unigram", "byte", "char")
Known = tuple[Tokenizer, Vocabulary]


@cache
def every() -> dict[str, Known]:
    """By kind; of a tokenizer with two sides the decoder's."""
    corpus = [row for row in ROWS if row.strip()] * 3
    found = {f"trained-{kind}": train_tokenizer(corpus, kind=kind, vocab_size=600) for kind in TRAINED}
    for kind, make in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder))
            found[kind] = Tokenizer.load(folder).target
    return {kind: (tokenizer, Vocabulary.of(tokenizer)) for kind, tokenizer in found.items()}
