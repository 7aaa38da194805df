"""One door to the inside of a model: record or edit hidden states and attention weights at named sites.

Explanation, causal tracing, pruning and distillation all pass through here. Sites are dotted names that follow the module
tree: `encoder.embeddings`, `encoder.layers.3.attention.weights`, `encoder.layers.3.attention`,
`encoder.layers.3.feedforward`, `encoder.layers.3` (the layer's output), `encoder` (the stack's); a decoder with memory has
`decoder.layers.3.cross_attention.weights` and `decoder.layers.3.cross_attention` too. A ragged batch records attention
weights as one tensor a group, `….attention.group.0.weights`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import Tensor

Edit = Callable[[Tensor], Tensor]


class Trace:
    """Give it to a model's `trace=`; it fills `values` and applies `edits` as the sites come by.

    record: patterns of sites (`encoder.layers.*.attention.weights`), in which `*` stays between two dots, as a shell's does
    between slashes: `encoder.layers.*` are the layers' outputs and nothing inside them. edits: pattern -> function from the
    value at the site to the value that goes on from there, of the same shape.
    """

    def __init__(self, record: Sequence[str] = (), edits: Mapping[str, Edit] | None = None) -> None:
        self.values: dict[str, Tensor] = {}
        self._record = tuple(record)
        self._edits = dict(edits or {})

    def wants(self, site: str) -> bool:
        """Whether anybody asked for this site; what is costly to make is made only then."""
        return any(_matches(site, pattern) for pattern in (*self._record, *self._edits))

    def at(self, site: str, value: Tensor) -> Tensor:
        """The value that goes on: edited if asked, recorded (after the edit) if asked."""
        for pattern, edit in self._edits.items():
            if _matches(site, pattern):
                edited = edit(value)
                if edited.shape != value.shape:
                    raise ValueError(f"the edit at {site} gave shape {tuple(edited.shape)}, not {tuple(value.shape)}")
                value = edited
        if any(_matches(site, pattern) for pattern in self._record):
            self.values[site] = value
        return value


def _matches(site: str, pattern: str) -> bool:
    parts, wanted = site.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


class Scope:
    """A :class:`Trace` seen from inside one module, whose name it puts before each site. Without a trace it does nothing."""

    __slots__ = ("_prefix", "_trace")

    def __init__(self, trace: Trace | None, prefix: str = "") -> None:
        self._trace, self._prefix = trace, prefix

    def inside(self, name: str) -> Scope:
        """The scope of a part."""
        return self if self._trace is None else Scope(self._trace, self._site(name))

    @property
    def unseen(self) -> bool:
        """Whether there is no trace."""
        return self._trace is None

    def wants(self, name: str) -> bool:
        """See :meth:`Trace.wants`."""
        return self._trace is not None and self._trace.wants(self._site(name))

    def at(self, name: str, value: Tensor) -> Tensor:
        """See :meth:`Trace.at`; `name` "" is the module itself."""
        return value if self._trace is None else self._trace.at(self._site(name), value)

    def _site(self, name: str) -> str:
        return ".".join(part for part in (self._prefix, name) if part)
