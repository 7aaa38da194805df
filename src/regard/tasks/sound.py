"""What tasks that hear share: recordings cut where it is quietest, and made into what a model reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regard.tasks.inputs import Input
from regard.tasks.media import missing
from regard.tasks.task import Fault, Row, Task
from regard.text.tokenizer import Tokenizer

ROWS = 8
"""Pieces of recordings in one batch."""
SECONDS = 30.0
"""Longest piece that a model without chunks of its own reads at once."""
SEARCHED = 6.0
"""Seconds before the end of a piece in which the quietest place is looked for, where a longer recording is cut."""
QUIET = 0.2
"""Seconds that are compared with each other."""


class Sounds(Task):
    """What such tasks have in common: a column `audio`, the path of a recording."""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`audio`."""
        return (Input("audio"),)

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterator[Fault]:
        """Recordings that are not there."""
        return missing(rows, "audio", fix="give the path of a recording")


def hear(path: str, settings: Mapping[str, Any]) -> Iterator[tuple[Tensor, Tensor | None, list[int]]]:
    """A recording, batch by batch: values and their mask, and the samples of each piece. settings: the checkpoint's
    preprocessor_config.json."""
    from regard.data.audio import LogMel, Wave, read_audio  # the extra `audio`

    kind = LogMel if settings.get("feature_extractor_type") == "WhisperFeatureExtractor" else Wave
    features: LogMel | Wave = kind.of(settings, where="features")
    longest = float(features.seconds) if isinstance(features, LogMel) else SECONDS
    heard = list(pieces(read_audio(path, rate=features.rate), features.rate, longest))
    for start in range(0, len(heard), ROWS):
        batch = heard[start : start + ROWS]
        values, mask = features(batch)
        yield values, mask, [len(piece) for piece in batch]


def pieces(waveform: NDArray[np.float32], rate: int, seconds: float) -> Iterator[NDArray[np.float32]]:
    """A recording in pieces of at most so many seconds, cut where it is quietest in the last ones of each."""
    longest, searched, quiet = (int(rate * part) for part in (seconds, SEARCHED, QUIET))
    while len(waveform) > longest:
        last = np.square(waveform[longest - searched : longest], dtype=np.float64)
        upto = np.concatenate([[0.0], last.cumsum()])
        cut = longest - searched + int((upto[quiet:] - upto[:-quiet]).argmin()) + quiet // 2
        yield waveform[:cut]
        waveform = waveform[cut:]
    yield waveform
