"""What those who build tokenizers share: special tokens made whole, the templates around texts, scores that can be saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import tokenizers
from tokenizers import AddedToken, processors

from regard.errors import CheckpointError, did_you_mean, listed
from regard.text.layout import unnamed
from regard.text.settings import Settings


def template(
    tokenizer: tokenizers.Tokenizer, single: str, pair: str, roles: Mapping[str, str]
) -> processors.TemplateProcessing:
    """The post-processor of two templates such as `cls $A sep $B:1 sep:1`, in names of roles; `:1` is the type."""
    used = {place.partition(":")[0] for place in pair.split()} - {"$A", "$B"}
    numbers = {role: number(tokenizer, role, roles) for role in sorted(used)}
    tokens = sorted({(roles[role], index) for role, index in numbers.items()})
    return processors.TemplateProcessing(single=_spelled(single, roles), pair=_spelled(pair, roles), special_tokens=tokens)


def number(tokenizer: tokenizers.Tokenizer, role: str, roles: Mapping[str, str]) -> int:
    """The id of a special token that stands around texts."""
    index = tokenizer.token_to_id(roles[role]) if role in roles else None
    if index is None:
        raise unnamed(role)
    return index


def _spelled(places: str, roles: Mapping[str, str]) -> list[str]:
    parts = (place.partition(":") for place in places.split())
    return [f"{roles.get(name, name)}{colon}{kind}" for name, colon, kind in parts]


def between(settings: Settings, roles: Mapping[str, str]) -> tuple[str, str]:
    """The templates of `add_bos_token` and `add_eos_token`: each text between the two, or one of them, or neither."""
    before = ["bos"] if settings.flag("add_bos_token", False) and "bos" in roles else []
    after = ["eos"] if settings.flag("add_eos_token", False) and "eos" in roles else []
    first = " ".join([*before, "$A", *after])
    second = " ".join(f"{name}:1" for name in [*before, "$B", *after])
    return first, f"{first} {second}"


def add_specials(
    tokenizer: tokenizers.Tokenizer, roles: Mapping[str, str], settings: Settings, also: Sequence[AddedToken] = ()
) -> None:
    """Makes the special tokens whole wherever they stand in a text; those that are new get the next ids.

    also: more of them, which the kind of tokenizer has.
    """
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    for content, (index, token) in settings.numbered().items():
        if content not in known:
            token.special = token.special or content in roles.values()
            _add(tokenizer, token)
            known.add(content)
        given = tokenizer.token_to_id(content)
        if index != given:
            raise settings.misnumbered(content, wanted=index, given=given)
    for token in [*settings.special(roles), *settings.extra(), *also]:
        if token.content not in known:
            _add(tokenizer, token)
            known.add(token.content)


def no_rule(settings: Settings, what: str, kinds: Iterable[str]) -> CheckpointError:
    """The error for files of a kind that nobody here knows."""
    return CheckpointError(
        f"no rule for {what} of {settings.kind!r}",
        where=settings.where,
        allowed=listed(f"{kind}Tokenizer" for kind in kinds),
        fix=did_you_mean(settings.kind, kinds) or "save it as tokenizer.json with the library it comes from",
    )


def complete(table: dict[str, int], roles: Mapping[str, str], settings: Settings) -> dict[str, bool]:
    """The same for a plain table, token -> id, which it changes; returns the tokens to be whole, and which are special."""
    whole: dict[str, bool] = {}
    for token, (index, added) in settings.numbered().items():
        given = table.setdefault(token, len(table))
        if index != given:
            raise settings.misnumbered(token, wanted=index, given=given)
        whole[token] = added.special or token in roles.values()
    for added in [*settings.special(roles), *settings.extra()]:
        table.setdefault(added.content, len(table))
        whole[added.content] = True
    return whole


def _add(tokenizer: tokenizers.Tokenizer, token: AddedToken) -> None:
    (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])


def kept(score: float) -> float:
    """A score as it will be after saving and loading: the library reads up to 15 digits of a number exactly, not more."""
    return float(f"{score:.15g}")
