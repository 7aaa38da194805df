"""What stands beside a vocabulary: `tokenizer_config.json` and the older files of the Hugging Face layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args, overload

from tokenizers import AddedToken

from regard.errors import CheckpointError, listed
from regard.text.files import read_object
from regard.text.kinds import CONVENTIONS, GENERIC, OF_MODEL, ROLES, SAME, SPECIALS
from regard.text.layout import Side

LONGEST = 10**8
"""A `model_max_length` above this (the format writes 1e30) says that there is no limit."""

MASK_TAKES_SPACE = ("MBart", "MBart50", "Nllb")
"""Kinds whose mask swallows the space before it, where its entry does not say otherwise."""

MOST_EXTRA_IDS = 10_000
"""Sentinels that a file may ask for."""

INDEX = re.compile("[0-9]{1,9}")
"""An id as a key of JSON."""

FLAGS = ("lstrip", "rstrip", "normalized", "single_word")
"""How an added token meets the text around it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of `tokenizer_config.json`, with the tokens of `special_tokens_map.json` and `added_tokens.json`.

    where: the file's path, for messages. model: `model_type` of `config.json`, if that is there.
    """

    values: Mapping[str, Any]
    where: str
    model: str = ""

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """The settings of a folder; a folder without these files has none.

        The two older files count for less than a `tokenizer_config.json` that lists the added tokens with their ids.
        """
        path, special, added = (folder / name for name in ("tokenizer_config.json", "special_tokens_map.json", ADDED))
        values = read_object(path) if path.exists() else {}
        older = read_object(special) if special.exists() else {}
        complete = "added_tokens_decoder" in values
        where = f"{path} or {special.name}" if special.exists() else str(path)
        merged = {**older, **values} if complete else {**values, **older}
        settings = cls(merged, where, _model_type(folder / "config.json"))
        if complete or not added.exists():
            return settings
        return settings.changed(added_tokens_decoder=settings._decoder(read_object(added)))

    def changed(self, **values: Any) -> Settings:
        """The same settings with other values."""
        return replace(self, values={**self.values, **values})

    @property
    def kind(self) -> str:
        """Which of :data:`~regard.text.kinds.SPECIALS` this is, or another `tokenizer_class` without its ending.

        Without a `tokenizer_class` the model tells; empty when neither says anything.
        """
        name = self.word("tokenizer_class")
        if name in GENERIC:
            return ""
        name = name.removesuffix("Fast").removesuffix("Tokenizer")
        return SAME.get(name, name) or OF_MODEL.get(self.model, "")

    @property
    def max_length(self) -> int | None:
        """`model_max_length` in tokens; None when there is no limit."""
        value = self.values.get("model_max_length")
        if value is None or (isinstance(value, int | float) and value > LONGEST):
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.wrong("model_max_length", value, "a whole number of tokens, 1 or more")
        return value

    @property
    def extra_ids(self) -> int:
        """How many sentinels `<extra_id_0>` … a T5 vocabulary has behind its pieces."""
        count = self.values.get("extra_ids", 100)
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST_EXTRA_IDS:
            raise self.wrong("extra_ids", count, f"a whole number, 0 to {MOST_EXTRA_IDS}")
        return count

    @property
    def truncation_side(self) -> Side:
        """The end of a text that is dropped when it is too long."""
        side: Side = self.values.get("truncation_side", "right")
        if side not in get_args(Side):
            raise self.wrong("truncation_side", side, listed(get_args(Side)))
        return side

    @overload
    def flag(self, name: str, default: bool) -> bool: ...

    @overload
    def flag(self, name: str, default: bool | None = None) -> bool | None: ...

    def flag(self, name: str, default: bool | None = None) -> bool | None:
        """A setting that is true, false or null (then `default`)."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, value, "true, false or null")
        return value

    def word(self, name: str, default: str = "") -> str:
        """A setting that is a text or null (then `default`)."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(name, value, "a text or null")
        return value

    def roles(self, known: Callable[[str], bool]) -> dict[str, str]:
        """Role -> special token: what the files name, over what the kind takes for granted and the vocabulary has.

        known: whether the vocabulary has a token. Where neither file nor kind says anything, the vocabulary suggests.
        """
        named = {role: self._content(f"{role}_token", self.values.get(f"{role}_token")) for role in ROLES}
        usual = SPECIALS.get(self.kind)
        if usual is None and not any(named.values()):
            usual = next((roles for probe, roles in CONVENTIONS if all(map(known, probe))), {})
        added = self.numbered()
        usual = {role: token for role, token in (usual or {}).items() if token in added or known(token)}
        silent = {role for role in ROLES if f"{role}_token" not in self.values}
        chosen = {role: usual.get(role) if role in silent else named[role] for role in ROLES}
        return {role: token for role, token in chosen.items() if token is not None}

    def numbered(self) -> dict[str, tuple[int, AddedToken]]:
        """Tokens beyond the vocabulary by content: (the id they must have, the token), in order of their ids."""
        decoder = self.values.get("added_tokens_decoder", {})
        if not isinstance(decoder, dict) or not all(map(INDEX.fullmatch, decoder)):
            raise self.wrong("added_tokens_decoder", decoder, 'an object such as {"0": {"content": "[PAD]"}}')
        tokens: dict[str, tuple[int, AddedToken]] = {}
        for index, entry in sorted(decoder.items(), key=lambda item: int(item[0])):
            content = self._content(f"added_tokens_decoder.{index}", entry)
            if content is None or not isinstance(entry, Mapping):
                raise self.wrong(f"added_tokens_decoder.{index}", entry, 'an object with "content"')
            tokens[content] = int(index), AddedToken(content, special=bool(entry.get("special", False)), **_flags(entry))
        return tokens

    def special(self, roles: Mapping[str, str]) -> list[AddedToken]:
        """The special tokens of `roles`, as their entries describe them."""
        entries = {token: self.values.get(f"{role}_token") for role, token in roles.items()}
        flags = {token: _flags(entry) for token, entry in entries.items()}
        if self.kind in MASK_TAKES_SPACE and "mask" in roles:
            flags[roles["mask"]] = {"lstrip": True, "normalized": True, **flags[roles["mask"]]}
        return [AddedToken(token, special=True, **options) for token, options in flags.items()]

    def extra(self) -> list[AddedToken]:
        """The special tokens that have no role and no id: `additional_special_tokens`."""
        key = "additional_special_tokens" if self.values.get("additional_special_tokens") else "extra_special_tokens"
        entries = self.values.get(key) or []
        if not isinstance(entries, list | dict):
            raise self.wrong(key, entries, "a list of tokens")
        entries = entries.values() if isinstance(entries, dict) else entries
        named = [(self._content(key, entry), entry) for entry in entries]
        return [AddedToken(content, special=True, **_flags(entry)) for content, entry in named if content is not None]

    def _decoder(self, added: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """`added_tokens.json` (token -> id) as `added_tokens_decoder`; those are special that another key names too."""
        named = {self._content(f"{role}_token", self.values.get(f"{role}_token")) for role in ROLES}
        special = named | {token.content for token in self.extra()}
        return {
            str(index): {"content": token, "special": token in special, "normalized": token not in special}
            for token, index in added.items()
        }

    def misnumbered(self, token: str, *, wanted: int, given: int | None) -> CheckpointError:
        """The error for an added token whose id is another one in the vocabulary."""
        what = f"added token {token!r} must be {wanted} but the vocabulary gives {given}"
        return CheckpointError(what, where=self.where, fix="get the vocabulary that belongs to this file")

    def _content(self, key: str, entry: Any) -> str | None:
        content = entry.get("content") if isinstance(entry, Mapping) else entry
        if content is None or (isinstance(content, str) and content):
            return content
        raise self.wrong(key, entry, 'a token, as "[PAD]" or {"content": "[PAD]"}')

    def wrong(self, key: str, value: object, allowed: str) -> CheckpointError:
        """The error for a value that is none of those `allowed`."""
        return CheckpointError(f"key {key!r} is {value!r}", where=self.where, allowed=allowed, fix="correct it")


ADDED = "added_tokens.json"


def _flags(entry: Any) -> dict[str, bool]:
    return {key: bool(entry[key]) for key in FLAGS if key in entry} if isinstance(entry, Mapping) else {}


def _model_type(path: Path) -> str:
    """`model_type` of a `config.json`; what else may be wrong with that file its own reader says."""
    try:
        return str(read_object(path).get("model_type") or "") if path.exists() else ""
    except CheckpointError:
        return ""
