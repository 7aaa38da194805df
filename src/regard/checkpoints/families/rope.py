"""Rotary positions: `rope_parameters`, in older files `rope_theta` and `rope_scaling`; here base, width and stretch."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from regard.checkpoints.families.family import Keys

BASE = 10000.0
"""What an absent base means."""

KINDS = ("default", "linear", "dynamic", "llama3", "yarn")

ONLY: Mapping[str, tuple[Any, ...]] = {
    "rope_parameters.rope_type": KINDS,
    "rope_parameters.type": KINDS,
    "rope_scaling.rope_type": KINDS,
    "rope_scaling.type": KINDS,
}
"""Kinds of stretching that Regard has; they are spelled in two ways."""

WHOLE: Mapping[str, tuple[Any, ...]] = {
    "partial_rotary_factor": (1,),
    "rope_parameters.partial_rotary_factor": (1,),
    "rope_scaling.partial_rotary_factor": (1,),
}
"""For families in which all features of a head are turned."""

NAMES = {
    "rotary_base": "rope_theta",
    "stretch": "rope_parameters",
    "stretch.kind": "rope_parameters.rope_type",
    "stretch.factor": "rope_parameters.factor",
    "stretch.original": "rope_parameters.original_max_position_embeddings",
    "stretch.low": "rope_parameters.low_freq_factor or beta_slow",
    "stretch.high": "rope_parameters.high_freq_factor or beta_fast",
    "stretch.temperature": "rope_parameters.attention_factor",
    "stretch.whole": "rope_parameters.truncate",
}


def rope(longest: int, *, base: str = "rope_theta", share: str | None = None, default_share: float = 1.0) -> Keys:
    """The keys for a family whose `max_position_embeddings` is `longest` by default.

    base: the older key of the base. share: that of the share of a head's features that are turned, None = all are;
    default_share: what its absence means. Export keeps the spelling; a file that has none gets the older one, which every
    version of transformers reads.
    """
    turned = {} if share is None else {"d_rotary": share, "d_head": "num_attention_heads"}
    return Keys(
        names={**NAMES, **turned},
        to_ours=partial(_to_ours, longest=longest, base=base, share=share, default_share=default_share),
        to_theirs=partial(_to_theirs, partly=share is not None),
        respell=partial(_respelled, base=base, share=share),
    )


def _said(theirs: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is said in one place: the older key counts if both are there, as in transformers."""
    said = theirs.get("rope_scaling") or theirs.get("rope_parameters") or {}
    if not isinstance(said, Mapping) or any(isinstance(value, Mapping) for value in said.values()):
        raise ValueError(f"{reprlib.repr(said)} is not one set of values for all layers")
    return said


def _to_ours(
    theirs: Mapping[str, Any], *, longest: int, base: str, share: str | None, default_share: float
) -> dict[str, Any]:
    said = _said(theirs)
    longest = _first(theirs.get("max_position_embeddings"), longest)
    ours = {
        "rotary_base": _first(said.get("rope_theta"), theirs.get(base), BASE),
        "stretch": _stretch(said, theirs, longest),
    }
    if share is not None:
        part = said.get("partial_rotary_factor", theirs.get(share, default_share))
        ours["d_rotary"] = int(theirs.get("hidden_size", 0) // (theirs.get("num_attention_heads") or 1) * part)
    return ours


def _first(*values: Any) -> Any:
    """The first that is said."""
    return next((value for value in values if value is not None), None)


def _stretch(said: Mapping[str, Any], theirs: Mapping[str, Any], longest: int) -> dict[str, Any] | None:
    """The fields of StretchConfig; a kind that is unknown is passed on, to be refused by :data:`ONLY`."""
    kind = said.get("rope_type") or said.get("type") or "default"
    if kind == "default":
        return None
    stretch = {"kind": kind, "factor": said.get("factor")}
    if kind == "dynamic":
        stretch["original"] = longest
    elif kind in ("llama3", "yarn"):
        original = "original_max_position_embeddings"
        stretch["original"] = _first(theirs.get(original), said.get(original), longest)
    if kind == "llama3":
        stretch |= {"low": said.get("low_freq_factor"), "high": said.get("high_freq_factor")}
    elif kind == "yarn":
        stretch |= {"low": said.get("beta_slow") or 1, "high": said.get("beta_fast") or 32}
        stretch |= {"temperature": _temperature(said), "whole": bool(said.get("truncate", True))}
    return stretch


def _temperature(said: Mapping[str, Any]) -> float | None:
    """`attention_factor`, or what DeepSeek's `mscale` and `mscale_all_dim` make of it."""
    over, under = said.get("mscale"), said.get("mscale_all_dim")
    if said.get("attention_factor") is not None or not (over and under):
        return said.get("attention_factor")
    grown = 0.1 * math.log(max(said["factor"], 1))
    return float((over * grown + 1) / (under * grown + 1))


def _to_theirs(ours: Mapping[str, Any], *, partly: bool) -> dict[str, Any]:
    said = {"rope_type": "default", "rope_theta": ours["rotary_base"]}
    if partly:
        said["partial_rotary_factor"] = _share(ours["d_rotary"], ours["d_head"])
    if (stretch := ours["stretch"]) is None:
        return {"rope_parameters": said}
    said |= {"rope_type": stretch["kind"], "factor": stretch["factor"]}
    if stretch["kind"] in ("llama3", "yarn"):
        said["original_max_position_embeddings"] = stretch["original"]
    if stretch["kind"] == "llama3":
        said |= {"low_freq_factor": stretch["low"], "high_freq_factor": stretch["high"]}
    elif stretch["kind"] == "yarn":
        said |= {"beta_slow": stretch["low"], "beta_fast": stretch["high"], "truncate": stretch["whole"]}
        said |= {} if stretch["temperature"] is None else {"attention_factor": stretch["temperature"]}
    return {"rope_parameters": said}


def _share(width: int, of: int) -> float:
    """The share of which `int(of * share)` is `width`, whatever way the quotient was rounded."""
    share = width / of
    return share if int(of * share) == width else math.nextafter(share, 1)


def _respelled(keys: Mapping[str, Any], original: Mapping[str, Any], *, base: str, share: str | None) -> dict[str, Any]:
    if original.get("rope_parameters") and not original.get("rope_scaling"):
        return dict(keys)
    said = dict(keys["rope_parameters"])
    older = {base: said.pop("rope_theta")}
    if share is not None:
        older[share] = said.pop("partial_rotary_factor")
    kind = said.pop("rope_type")
    spelled = "type" if "type" in (original.get("rope_scaling") or {}) else "rope_type"
    return {**older, "rope_scaling": None if kind == "default" else {spelled: kind, **said}}
