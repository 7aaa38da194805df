"""Learning a vocabulary from texts: WordPiece, byte-level BPE, Unigram, bytes, characters, words. The libraries do the
work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple, get_args

import sentencepiece
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from regard.errors import ConfigError, DataError, did_you_mean, listed
from regard.text.backend import FastBackend
from regard.text.kinds import BERT, SEQ2SEQ
from regard.text.load import AROUND, Parts
from regard.text.settings import Settings
from regard.text.specials import kept, template
from regard.text.tokenizer import Tokenizer
from regard.text.train_pieces import learned_model, too_small

Kind = Literal["wordpiece", "bpe", "unigram", "byte", "char", "word"]
Specials = Literal["bert", "gpt", "seq2seq"]

SPECIALS: dict[str, dict[str, str]] = {
    "bert": BERT,
    "gpt": {"pad": "<|padding|>", "unk": "<|unknown|>", "bos": "<|endoftext|>", "eos": "<|endoftext|>"},
    "seq2seq": SEQ2SEQ,
}
"""Special tokens of an encoder, of a decoder, and of both together; they get the first ids, in this order."""

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


class Plan(NamedTuple):
    """What is learned: at most `vocab_size` tokens, `specials` first, the others seen `min_frequency` times or more."""

    specials: list[str]
    unk: str
    vocab_size: int
    min_frequency: int
    lower_case: bool


def train_tokenizer(
    texts: Iterable[str],
    *,
    kind: Kind,
    vocab_size: int,
    lower_case: bool = False,
    specials: Specials = "bert",
    min_frequency: int = 2,
) -> Tokenizer:
    """A tokenizer whose vocabulary is learned from `texts`, read once; `wordpiece` and `unigram` hold them in memory.

    kind: what tokens are.
        `wordpiece`: pieces of words, each Chinese character a word of its own (Devlin et al. 2019);
        `bpe`: merged bytes, nothing is unknown (Radford et al. 2019, §2.2);
        `unigram`: pieces of the likeliest segmentation, after NFKC (Kudo 2018);
        `byte`: the 256 bytes, nothing is unknown; nothing is learned, `texts` may be empty;
        `char`: the characters of `texts`; others are unknown;
        `word`: what stands between white space, the most frequent; others are unknown.
    vocab_size: most tokens, special tokens included; a small corpus makes fewer.
    lower_case: whether text is lower-cased (and for `wordpiece` loses its accents, as in BERT).
    specials: the special tokens and their places: `bert` [CLS] A [SEP] B [SEP], `gpt` none around, `seq2seq` </s>
        behind each text.
    min_frequency: how often a piece must occur; `unigram` and `byte` know no such bound.

    `bpe`, `byte` and `char` (of known characters) decode to exactly what was encoded, unless lower-cased; `word` writes one
    space between words. `unigram` gives rare characters (together 0.05% of the text) no piece of their own.

    Raises :class:`~regard.errors.ConfigError` for unknown kinds and for a vocab_size that cannot hold what the kind needs,
    :class:`~regard.errors.DataError` when there is no text.
    """
    _check_choice("kind", kind, get_args(Kind))
    _check_choice("specials", specials, get_args(Specials))
    roles = SPECIALS[specials]
    plan = Plan(list(dict.fromkeys(roles.values())), roles["unk"], vocab_size, min_frequency, lower_case)
    needed = len(BYTES) if kind in ("bpe", "byte") else 2
    if vocab_size < len(plan.specials) + needed:
        raise too_small(vocab_size, len(plan.specials), needed)
    tokenizer = TRAINERS[kind](_texts(texts), plan)
    if tokenizer.get_vocab_size() == len(plan.specials):
        raise DataError("no text to learn a vocabulary from", fix=f"give texts, or min_frequency below {min_frequency}")
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in plan.specials])
    _surround(tokenizer, specials, roles)
    backend = FastBackend(tokenizer)
    settings = Settings({"tokenizer_class": "PreTrainedTokenizerFast"}, "tokenizer_config.json")
    return Tokenizer(Parts(backend, backend.layout("the trained tokenizer"), roles, settings))


def _check_choice(name: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        raise ConfigError(f"{name} is {value!r}", allowed=listed(options), fix=did_you_mean(value, options))


def _texts(texts: Iterable[str]) -> Iterator[str]:
    if isinstance(texts, str):
        raise DataError("texts is one string", allowed="an iterable of strings", fix="give [texts]")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{type(text).__name__} instead of text", where=f"texts[{index}]", fix="give a string")
        yield text


def _wordpiece(texts: Iterator[str], plan: Plan) -> tokenizers.Tokenizer:
    normalizer = normalizers.BertNormalizer(lowercase=plan.lower_case)
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    corpus = list(texts)
    words = Counter(word for text in corpus for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)))
    # Each character may come twice, alone and with ##.
    kept = _frequent(words, plan)[: (plan.vocab_size - len(plan.specials)) // 2]
    inner = sorted({f"##{character}" for word in words for character in word[1:]} & {f"##{c}" for c in kept})
    trainer = trainers.WordPieceTrainer(
        vocab_size=plan.vocab_size,
        min_frequency=plan.min_frequency,
        # Left to itself the library numbers the ## characters in random order, and ties between merges follow the numbers.
        special_tokens=[*plan.specials, *inner],
        initial_alphabet=kept,
        limit_alphabet=len(kept),
        show_progress=False,
    )
    learner = tokenizers.Tokenizer(models.WordPiece(unk_token=plan.unk))
    learner.normalizer, learner.pre_tokenizer = normalizer, pre_tokenizer
    learner.train_from_iterator(corpus, trainer)
    tokenizer = tokenizers.Tokenizer(models.WordPiece(learner.get_vocab(), unk_token=plan.unk))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _bpe(texts: Iterator[str], plan: Plan) -> tokenizers.Tokenizer:
    tokenizer = _byte_level(models.BPE(), plan, words=True)
    trainer = trainers.BpeTrainer(
        vocab_size=plan.vocab_size,
        min_frequency=plan.min_frequency,
        special_tokens=plan.specials,
        initial_alphabet=BYTES,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _byte(texts: Iterator[str], plan: Plan) -> tokenizers.Tokenizer:
    return _byte_level(models.BPE(_numbered([*plan.specials, *BYTES]), []), plan, words=False)


def _byte_level(model: models.Model, plan: Plan, *, words: bool) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    if plan.lower_case:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _unigram(texts: Iterator[str], plan: Plan) -> tokenizers.Tokenizer:
    spaces = normalizers.Replace(tokenizers.Regex(r"\s+"), " ")
    steps = [normalizers.NFKC(), spaces, normalizers.Strip()]
    normalizer = normalizers.Sequence([*steps, normalizers.Lowercase()] if plan.lower_case else steps)
    learned = _learned_pieces([line for text in texts if (line := normalizer.normalize_str(text))], plan)
    scored = [*((token, 0.0) for token in plan.specials), *learned]
    tokenizer = tokenizers.Tokenizer(models.Unigram(scored, unk_id=plan.specials.index(plan.unk)))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _learned_pieces(texts: list[str], plan: Plan) -> list[tuple[str, float]]:
    """Pieces and log-probabilities, by `sentencepiece`: the Unigram trainer of `tokenizers` never answers the same twice."""
    if not texts:
        return []
    model = learned_model(texts, "unigram", plan.vocab_size, len(plan.specials))
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [(pieces.id_to_piece(index), kept(pieces.get_score(index))) for index in range(1, pieces.get_piece_size())]


def _char(texts: Iterator[str], plan: Plan) -> tokenizers.Tokenizer:
    characters = _frequent(Counter(text.lower() if plan.lower_case else text for text in texts), plan)
    vocabulary = _numbered([*plan.specials, *characters][: plan.vocab_size])
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, [], unk_token=plan.unk))
    if plan.lower_case:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _word(texts: Iterator[str], plan: Plan) -> tokenizers.Tokenizer:
    counts = Counter(word for text in texts for word in (text.lower() if plan.lower_case else text).split())
    vocabulary = _numbered(dict.fromkeys([*plan.specials, *_kept(counts, plan)][: plan.vocab_size]))
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=plan.unk))
    if plan.lower_case:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def _frequent(texts: Counter[str], plan: Plan) -> list[str]:
    """The characters that occur often enough in counted texts, the most frequent first."""
    counts: Counter[str] = Counter()
    for text, count in texts.items():
        for character in text:
            counts[character] += count
    return _kept(counts, plan)


def _kept(counts: Counter[str], plan: Plan) -> list[str]:
    """What was counted often enough, the most frequent first."""
    kept = [token for token, count in counts.items() if count >= plan.min_frequency]
    return sorted(kept, key=lambda token: (-counts[token], token))


def _numbered(tokens: Iterable[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens)}


def _surround(tokenizer: tokenizers.Tokenizer, specials: str, roles: dict[str, str]) -> None:
    if specials == "bert":
        tokenizer.post_processor = template(tokenizer, *AROUND, roles)
    elif specials == "seq2seq":
        tokenizer.post_processor = template(tokenizer, "$A eos", "$A eos $B eos", roles)


TRAINERS: dict[str, Callable[[Iterator[str], Plan], tokenizers.Tokenizer]] = {
    "wordpiece": _wordpiece,
    "bpe": _bpe,
    "unigram": _unigram,
    "byte": _byte,
    "char": _char,
    "word": _word,
}
