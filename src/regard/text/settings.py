"""What stands beside a vocabulary: `tokenizer_config.json` and `special_tokens_map.json` of the Hugging Face layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, overload

from tokenizers import AddedToken

from regard.errors import CheckpointError, listed
from regard.text.layout import Side

ROLES = ("pad", "unk", "cls", "sep", "bos", "eos", "mask")
"""What a special token can be for; `tokenizer_config.json` says `pad_token` and so on."""

LONGEST = 10**8
"""A `model_max_length` above this (the format writes 1e30) says that there is no limit."""

BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA = {"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
GPT2 = {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>"}
SEQ2SEQ = {"pad": "<pad>", "unk": "<unk>", "bos": "<s>", "eos": "</s>"}
CONVENTIONS = (
    (("[CLS]", "[SEP]"), BERT),
    (("<s>", "</s>", "<mask>"), ROBERTA),
    (("<|endoftext|>",), GPT2),
    (("</s>",), SEQ2SEQ),
)
"""The field's habits: a vocabulary that holds these tokens means them so."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of `tokenizer_config.json`, with the tokens of `special_tokens_map.json` where it names none.

    where: the file's path, for messages.
    """

    values: Mapping[str, Any]
    where: str

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """The settings of a folder; a folder without these files has none."""
        path = folder / "tokenizer_config.json"
        values = read_object(path) if path.exists() else {}
        special = folder / "special_tokens_map.json"
        if special.exists():
            values = {**read_object(special), **values}
        added = folder / "added_tokens.json"
        if added.exists() and "added_tokens_decoder" not in values:
            contents = {str(index): {"content": token} for token, index in read_object(added).items()}
            values = {**values, "added_tokens_decoder": contents}
        return cls(values, f"{path} or {special.name}" if special.exists() else str(path))

    @property
    def kind(self) -> str:
        """`tokenizer_class` without its ending: `Bert`, `Roberta`, `T5` …; empty when there is none or it says nothing."""
        name = str(self.values.get("tokenizer_class") or "")
        if name in ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend"):
            return ""
        return name.removesuffix("Fast").removesuffix("Tokenizer")

    @property
    def max_length(self) -> int | None:
        """`model_max_length` in tokens; None when there is no limit."""
        value = self.values.get("model_max_length")
        if value is None or (isinstance(value, int | float) and value > LONGEST):
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self._wrong("model_max_length", value, "a whole number of tokens, 1 or more")
        return value

    @property
    def extra_ids(self) -> int:
        """How many sentinels `<extra_id_0>` … a T5 vocabulary has behind its pieces."""
        count = self.values.get("extra_ids", 100)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise self._wrong("extra_ids", count, "a whole number, 0 or more")
        return count

    @property
    def truncation_side(self) -> Side:
        """The end of a text that is dropped when it is too long."""
        side: Side = self.values.get("truncation_side", "right")
        if side not in get_args(Side):
            raise self._wrong("truncation_side", side, listed(get_args(Side)))
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
            raise self._wrong(name, value, "true, false or null")
        return value

    def named(self) -> dict[str, str]:
        """The special tokens that the files name: role -> token."""
        tokens = {role: self._content(f"{role}_token", self.values.get(f"{role}_token")) for role in ROLES}
        return {role: token for role, token in tokens.items() if token is not None}

    def roles(self, known: Callable[[str], bool], defaults: Mapping[str, str] | None = None) -> dict[str, str]:
        """Role -> token: what the files name over `defaults`; if neither says anything, what the vocabulary suggests.

        known: whether the vocabulary has a token; those that only a default or a habit names must be there to count.
        """
        named = self.named()
        if defaults is None and not named:
            habits = (roles for probe, roles in CONVENTIONS if all(map(known, probe)))
            defaults = next(habits, {})
        usual = {role: token for role, token in (defaults or {}).items() if known(token)}
        return {**usual, **named}

    def added(self) -> dict[str, tuple[int | None, AddedToken]]:
        """Tokens beyond the vocabulary by content: (the id they must have, if said; the token), in order of their ids."""
        decoder = self.values.get("added_tokens_decoder", {})
        if not isinstance(decoder, dict) or not all(index.isdecimal() for index in decoder):
            raise self._wrong("added_tokens_decoder", decoder, 'an object such as {"0": {"content": "[PAD]"}}')
        tokens: dict[str, tuple[int | None, AddedToken]] = {}
        for index, entry in sorted(decoder.items(), key=lambda item: int(item[0])):
            content = self._content(f"added_tokens_decoder.{index}", entry)
            if content is None or not isinstance(entry, Mapping):
                raise self._wrong(f"added_tokens_decoder.{index}", entry, 'an object with "content"')
            options = {key: bool(entry[key]) for key in ("lstrip", "rstrip", "normalized", "single_word") if key in entry}
            tokens[content] = int(index), AddedToken(content, special=bool(entry.get("special", False)), **options)
        key = "additional_special_tokens" if self.values.get("additional_special_tokens") else "extra_special_tokens"
        extra = self.values.get(key) or []
        if not isinstance(extra, list | dict):
            raise self._wrong(key, extra, "a list of tokens")
        for entry in extra.values() if isinstance(extra, dict) else extra:
            content = self._content(key, entry)
            if content is not None:
                tokens.setdefault(content, (None, AddedToken(content, special=True, normalized=False)))
        return tokens

    def misnumbered(self, token: str, *, wanted: int, given: int | None) -> CheckpointError:
        """The error for an added token whose id is another one in the vocabulary."""
        what = f"added token {token!r} must be {wanted} but the vocabulary gives {given}"
        return CheckpointError(what, where=self.where, fix="get the vocabulary that belongs to this file")

    def _content(self, key: str, entry: Any) -> str | None:
        content = entry.get("content") if isinstance(entry, Mapping) else entry
        if content is None or (isinstance(content, str) and content):
            return content
        raise self._wrong(key, entry, 'a token, as "[PAD]" or {"content": "[PAD]"}')

    def _wrong(self, key: str, value: object, allowed: str) -> CheckpointError:
        return CheckpointError(f"key {key!r} is {value!r}", where=self.where, allowed=allowed, fix="correct it")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        value = json.loads(read_bytes(path))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"not JSON: {error}", where=str(path), fix="get the file anew") from None
    if not isinstance(value, dict):
        raise CheckpointError("not a JSON object", where=str(path), allowed="{…}", fix="get the file anew")
    return value


def read_bytes(path: Path) -> bytes:
    """The content of a file of a model folder."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=str(path), fix="check path and rights") from None
