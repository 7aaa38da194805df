"""SentencePiece files of the families that `transformers` hands to the `tokenizers` library: made into such a tokenizer.

What is here is what that conversion gives, also where it departs from the `sentencepiece` library: mT5's bytes for unknown
characters are not used, and mBART's own map of characters neither.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from regard.errors import CheckpointError
from regard.text import languages
from regard.text.kinds import SPECIALS
from regard.text.proto import CONTROL, USER_DEFINED, Pieces
from regard.text.settings import Settings
from regard.text.specials import add_specials, between, kept, template

Normalizers = list[normalizers.Normalizer]
Halves = tuple[pre_tokenizers.PreTokenizer, decoders.Decoder]
"""What cuts a text, and what joins it again."""

SPACE = "▁"


def _words(settings: Settings) -> Halves:
    """Words at white space, each with its mark in front."""
    scheme = "always" if settings.flag("add_prefix_space", True) else "never"
    mark = pre_tokenizers.Metaspace(SPACE, scheme)
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), mark]), decoders.Metaspace(SPACE, scheme)


def _spaces(settings: Settings) -> Halves:
    """Words at spaces; other white space is left to the character map."""
    return pre_tokenizers.Metaspace(SPACE, "always"), decoders.Metaspace(SPACE, "always")


def _deberta(settings: Settings) -> Halves:
    scheme = "always" if settings.flag("add_prefix_space", True) else "first"
    cut: list[pre_tokenizers.PreTokenizer] = [pre_tokenizers.Metaspace(SPACE, scheme)]
    if settings.flag("split_by_punct", False):
        cut.insert(0, pre_tokenizers.Punctuation("isolated"))
    return pre_tokenizers.Sequence(cut), decoders.Metaspace(SPACE, scheme)


def _llama(settings: Settings) -> Halves:
    """A text is one word; only its beginning gets a mark, in older (`legacy`) ones also what follows a special token."""
    marked = settings.flag("add_prefix_space", True)
    scheme = "never" if not marked else "always" if settings.flag("legacy", False) else "first"
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if marked:
        steps.append(decoders.Strip(" ", left=1))
    return pre_tokenizers.Metaspace(SPACE, scheme, split=False), decoders.Sequence(steps)


def _mapped(settings: Settings, charsmap: bytes) -> Normalizers:
    return [normalizers.Precompiled(charsmap)] if charsmap else []


def _unmapped(settings: Settings, charsmap: bytes) -> Normalizers:
    return []


def _mapped_narrow(settings: Settings, charsmap: bytes) -> Normalizers:
    return [*_mapped(settings, charsmap), normalizers.Replace(Regex(" {2,}"), " ")]


def _albert_characters(settings: Settings, charsmap: bytes) -> Normalizers:
    steps: Normalizers = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not settings.flag("keep_accents", False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if settings.flag("do_lower_case", True):
        steps.append(normalizers.Lowercase())
    return steps + _mapped(settings, charsmap)


def _deberta_characters(settings: Settings, charsmap: bytes) -> Normalizers:
    lower: Normalizers = [normalizers.Lowercase()] if settings.flag("do_lower_case", False) else []
    narrow = normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " ")
    return [*lower, narrow, normalizers.NFC(), normalizers.Strip(left=False, right=True)]


class Recipe(NamedTuple):
    """How a family uses its SentencePiece file.

    single, pair: the templates of one text and of two, in names of roles.
    fairseq: whether ids are fairseq's: <s> <pad> </s> <unk>, the pieces from the fourth on, the languages, <mask>.
    mask_behind: whether a mask that is no piece gets the next id.
    bpe: whether pieces are merged (Sennrich et al. 2016) and not the likeliest ones taken (Kudo 2018).
    """

    characters: Callable[[Settings, bytes], Normalizers]
    words: Callable[[Settings], Halves]
    single: str = "$A"
    pair: str = "$A $B"
    fairseq: bool = False
    mask_behind: bool = False
    bpe: bool = False


RECIPES = {
    "T5": Recipe(_mapped, _words, "$A eos", "$A eos $B eos"),
    "Albert": Recipe(_albert_characters, _words, "cls $A sep", "cls $A sep $B:1 sep:1"),
    "DebertaV2": Recipe(_deberta_characters, _deberta, "cls $A sep", "cls $A sep $B:1 sep:1", mask_behind=True),
    "XLMRoberta": Recipe(_mapped, _words, "bos $A eos", "bos $A eos eos $B eos", fairseq=True),
    "MBart": Recipe(_unmapped, _words, fairseq=True),
    "MBart50": Recipe(_mapped_narrow, _spaces, fairseq=True),
    "Nllb": Recipe(_mapped_narrow, _spaces, fairseq=True, bpe=True),
    "Llama": Recipe(_unmapped, _llama, bpe=True),
}


def convert(pieces: Pieces, settings: Settings, where: str) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """The tokenizer of a SentencePiece file in the recipe of its kind, and its special tokens."""
    recipe = RECIPES[settings.kind]
    if pieces.bpe != recipe.bpe:
        found, needed = ("bpe", "unigram") if pieces.bpe else ("unigram", "bpe")
        raise CheckpointError(
            f"a {found} model, but {settings.kind}Tokenizer takes a {needed} one",
            where=where,
            fix="name its own tokenizer_class, or save it as tokenizer.json with the library it comes from",
        )
    known = {*pieces.tokens, *([SPECIALS[settings.kind]["mask"]] if recipe.mask_behind else [])}
    roles = settings.roles(lambda token: recipe.fairseq or token in known)
    tokenizer = tokenizers.Tokenizer(_model(pieces, settings, recipe, roles))
    _prepare(tokenizer, settings, pieces.charsmap)
    add_specials(tokenizer, roles, settings, also=_also(pieces, settings))
    single, pair = between(settings, roles) if settings.kind == "Llama" else (recipe.single, recipe.pair)
    tokenizer.post_processor = template(tokenizer, single, pair, roles)
    return tokenizer, roles


def refit(tokenizer: tokenizers.Tokenizer, settings: Settings, content: Mapping[str, Any]) -> None:
    """Gives a tokenizer that was read from a `tokenizer.json` the steps of its kind's recipe.

    Older converters wrote other steps into such files, which keep spaces that the models never saw; `transformers` too
    takes from the file no more than pieces, character map and special tokens.
    """
    steps = content.get("normalizer") or {}
    maps = [step["precompiled_charsmap"] for step in steps.get("normalizers", [steps]) if step.get("type") == "Precompiled"]
    _prepare(tokenizer, settings, b64decode(maps[0]) if maps else b"")


def _prepare(tokenizer: tokenizers.Tokenizer, settings: Settings, charsmap: bytes) -> None:
    recipe = RECIPES[settings.kind]
    characters = recipe.characters(settings, charsmap)
    tokenizer.normalizer = normalizers.Sequence(characters) if characters else None
    tokenizer.pre_tokenizer, tokenizer.decoder = recipe.words(settings)


def _model(pieces: Pieces, settings: Settings, recipe: Recipe, roles: Mapping[str, str]) -> models.Model:
    scored = list(zip(pieces.tokens, map(kept, pieces.scores), strict=True))
    unknown = pieces.unknown
    if recipe.fairseq:
        names = {**SPECIALS[settings.kind], **roles}
        first = [names[role] for role in ("cls", "pad", "eos", "unk")]
        last = [*languages.codes(settings), names["mask"]]
        scored = [*((token, 0.0) for token in first), *scored[3:], *((token, 0.0) for token in last)]
        unknown = 3
    scored += [(token, 0.0) for token in _sentinels(settings)]
    if not recipe.bpe:
        return models.Unigram(scored, unknown, byte_fallback=False)
    numbers = {token: index for index, (token, _) in enumerate(scored)}
    merges = list(_merges(pieces.tokens))
    if settings.kind == "Llama":
        return models.BPE(numbers, merges, fuse_unk=True, byte_fallback=True)
    return models.BPE(numbers, merges, fuse_unk=True, unk_token=scored[unknown][0])


def _merges(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The merges that a BPE vocabulary implies: each piece of all pairs of pieces that spell it, in the order of ids."""
    known = set(tokens)
    for token in tokens:
        for cut in range(1, len(token)):
            if token[:cut] in known and token[cut:] in known:
                yield token[:cut], token[cut:]


def _sentinels(settings: Settings) -> list[str]:
    """T5's <extra_id_99> … <extra_id_0>, which count down."""
    return [f"<extra_id_{index}>" for index in reversed(range(settings.extra_ids))] if settings.kind == "T5" else []


def _also(pieces: Pieces, settings: Settings) -> list[AddedToken]:
    """What a text may hold literally besides the tokens with a role."""
    symbols = zip(pieces.tokens, pieces.kinds, strict=True)
    kept = [(token, kind == CONTROL) for token, kind in symbols if kind in (CONTROL, USER_DEFINED)]
    kept += [(token, True) for token in [*languages.codes(settings), *_sentinels(settings)]]
    return [AddedToken(token, special=special, normalized=False) for token, special in kept]
