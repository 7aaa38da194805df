"""A folder in Hugging Face layout, read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.checkpoints.check import check_tensors
from regard.checkpoints.families import FAMILIES, Architecture
from regard.checkpoints.files import read_json
from regard.checkpoints.loaded import (
    COMPANIONS,
    CONFIG,
    FEATURES,
    GENERATION,
    PREPROCESSORS,
    PROCESSOR,
    Loaded,
    Origin,
    read_tokenizer,
)
from regard.checkpoints.rules import EXTRA, apply, their_names
from regard.checkpoints.shared import gather
from regard.checkpoints.tensors import INDEX, WEIGHTS, cast, read_weights
from regard.errors import CheckpointError, ConfigError, did_you_mean, listed
from regard.models.config import HeadConfig, ModelConfig


def read_theirs(folder: Path, theirs: dict[str, Any], dtype: torch.dtype | None) -> Loaded:
    """The folder whose config.json is `theirs`, dtype and errors as of :func:`regard.checkpoints.folder.load`."""
    where = str(folder / CONFIG)
    kind = theirs.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        what = "missing key 'model_type'" if kind is None else f"unknown model_type {kind!r}"
        fix = did_you_mean(kind, FAMILIES) if isinstance(kind, str) else ""
        raise ConfigError(what, where=where, allowed=listed(FAMILIES), fix=fix)
    family = FAMILIES[kind]
    stored = read_weights(folder)
    architecture, entries = family.recognise(theirs, list(stored))
    file = str(folder / (WEIGHTS if (folder / WEIGHTS).is_file() else INDEX))
    ours = apply(stored, entries, where=file)
    moved = gather(ours)
    extra = {name.removeprefix(EXTRA): ours.pop(name) for name in list(ours) if name.startswith(EXTRA)}
    config, head, task = family.read(theirs, architecture, _outputs(ours, architecture, file), where=where)
    config = _untied(config, ours, words=head is not None and head.over == "vocabulary")
    if head is not None and head.over == "vocabulary":
        head = head.model_copy(update={"n_outputs": config.target_vocab_size})

    called = their_names(entries)
    check_tensors(config, head, ours, where=file, key=family.key_of, name=lambda name: called(moved.get(name, name)))
    prefixed = architecture is family.base and family.prefix != "" and any(name.startswith(family.prefix) for name in stored)
    files = {name: read_json(folder / name) for name in COMPANIONS if (folder / name).is_file()}
    tokenizer = read_tokenizer(folder, config)
    for tensors in (ours, extra):
        cast(tensors, dtype, stored)
    return Loaded(
        config=config,
        head=head,
        tensors=ours,
        tokenizer=tokenizer,
        task=None if task is None or head is None else {**task, **_companions(theirs, files, head)},
        source=str(folder),
        origin=Origin(family=kind, architecture=architecture.name, config=theirs, prefixed=prefixed, files=files),
        extra=extra,
    )


def _outputs(tensors: Mapping[str, Tensor], architecture: Architecture, where: str) -> int | None:
    """Rows of the output layer; 0 where a state is pooled and no more or where the rows are those of the token table, None
    where there is no head."""
    if architecture.fields is None:
        return None
    output = tensors.get("head.out.weight")
    if output is None:
        tied, pools = architecture.over == "vocabulary", architecture.task is None
        bare = (tied or pools) and not architecture.fields.get("dense", True)
        return 0 if bare or any(name.startswith("head.") for name in tensors) else None
    if output.ndim != 2:
        raise CheckpointError(f"the output layer has shape {tuple(output.shape)}", where=where, allowed="(outputs, d_model)")
    return output.shape[0]


def _untied(config: ModelConfig, tensors: dict[str, Tensor], *, words: bool) -> ModelConfig:
    """What of the tables is one and what is not, by the tensors themselves; copies leave `tensors`. words: whether the head
    answers with words.

    A config.json that says that tables are one is believed only where they are: files hold both a copy that was forgotten
    and a matrix that was trained by itself.
    """
    stack = "decoder" if config.kind == "decoder" else "encoder"
    home = tensors.get(f"{stack}.embeddings.tokens.weight")
    if config.kind == "encoder-decoder":
        other = tensors.get("decoder.embeddings.tokens.weight")
        if home is None and other is None:
            return config
        if other is not None and home is not None and config.share_embeddings and torch.equal(home, other):
            del tensors["decoder.embeddings.tokens.weight"]
            other = None
        config = config.model_copy(update={"share_embeddings": home is not None and other is None})
        home = home if other is None else other
    out = tensors.get("head.out.weight")
    if not words or out is None:
        return config
    if home is not None and config.tie_head and out.shape == home.shape and torch.equal(out, home):
        del tensors["head.out.weight"]
        return config
    return config.model_copy(update={"tie_head": False})


GENERATION_KEYS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_decoder_ids",
    "bad_words_ids",
    "no_repeat_ngram_size",
    "repetition_penalty",
    "min_length",
    "min_new_tokens",
    "max_length",
    "max_new_tokens",
    "num_beams",
    "length_penalty",
    "early_stopping",
    "num_beam_groups",
    "diversity_penalty",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "num_return_sequences",
    "lang_to_id",
    "task_to_id",
    "no_timestamps_token_id",
    "is_multilingual",
)
"""What a task may need to know of how a checkpoint generates; in older checkpoints these stand in config.json."""


def _companions(theirs: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]], head: HeadConfig) -> dict[str, Any]:
    """`generation`, for a head that answers with words, and `features` for task.json, where there is something to say."""
    sources = {**theirs, **files.get(GENERATION, {})} if head.over == "vocabulary" else {}
    generation = {key: sources[key] for key in GENERATION_KEYS if sources.get(key) is not None}
    whole = files.get(PROCESSOR, {})
    parts = (whole[part] for part in PREPROCESSORS if isinstance(whole.get(part), dict))
    said = {"generation": generation, "features": files.get(FEATURES) or next(parts, None)}
    return {name: value for name, value in said.items() if value}
