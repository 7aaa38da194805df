"""Recordings to what a speech model reads: samples of one channel at its rate, then log-mel frames or a normalised waveform.

Reading needs the extra `audio` (soundfile, soxr); the features are made in torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from regard.data.media import Preprocessor, check_file
from regard.errors import ConfigError, DataError

LONGEST = 3600
"""Seconds of the longest recording that is read; at 16 kHz an hour takes 230 MB."""

RATES = (1_000, 768_000)
"""The lowest and the highest rate of a recording, in samples a second."""

FORMATS = "wav, flac, ogg, mp3, aiff and the others of libsndfile"

LOUDEST = 2.0**31
"""Samples of all formats lie in -1 … 1, but for floats, which may be anything; a larger one is not sound."""

CONVERT = "convert it, as with: ffmpeg -i OLD NEW.wav"


class Features(NamedTuple):
    """What a model reads: values (batch, …) float32, and for each of a row's positions whether it is real, bool; None = all
    are, or the model has no mask."""

    values: Tensor
    mask: Tensor | None


class LogMel(Preprocessor):
    """Frames of logarithmic energy in mel bands, always of a full chunk (Radford et al. 2022, §2.2)."""

    part: ClassVar[str] = "feature_extractor"
    kind: Literal["WhisperFeatureExtractor"] = Field("WhisperFeatureExtractor", alias="feature_extractor_type")
    """What makes the features there."""
    rate: int = Field(16_000, ge=8_000, le=48_000, alias="sampling_rate")
    """Samples a second."""
    n_mels: int = Field(80, ge=1, le=256, alias="feature_size")
    """Bands."""
    n_fft: int = Field(400, ge=2, le=8_000)
    """Samples of the window of a frame."""
    hop: int = Field(160, ge=32, le=8_000, alias="hop_length")
    """Samples between frames; so many that no sample is in more than 16 of them."""
    seconds: int = Field(30, ge=1, le=120, alias="chunk_length")
    """Length of a chunk, to which shorter sound is padded."""
    padding: float = Field(0.0, alias="padding_value")
    """Sample that stands behind the sound."""
    dither: float = Field(0.0, ge=0)
    """Standard deviation of noise that is added; drawn alike for each recording, so that features do not change."""

    @field_validator("hop")
    @classmethod
    def _not_too_dense(cls, hop: int, info: Any) -> int:
        if 16 * hop < info.data.get("n_fft", 0):
            raise ValueError("must be at least a sixteenth of n_fft")
        return hop

    @property
    def frames(self) -> int:
        """Frames of a chunk."""
        return self.seconds * self.rate // self.hop

    def __call__(self, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """waveforms at `rate`, as :func:`read_audio` gives them -> (batch, n_mels, frames).

        Raises DataError for one that is longer than a chunk.
        """
        for number, waveform in enumerate(waveforms, start=1):
            if len(waveform) > self.seconds * self.rate:
                raise DataError(
                    f"{len(waveform) / self.rate:.1f} s of sound",
                    where=f"recording {number}" if len(waveforms) > 1 else "",
                    allowed=f"up to {self.seconds} s at a time",
                    fix="cut it into pieces, best where nobody speaks",
                )
        return Features(torch.stack([self._frames(torch.from_numpy(waveform)) for waveform in waveforms]), None)

    def _frames(self, waveform: Tensor) -> Tensor:
        # half a window beyond the sound, all frames of silence are the same: they need not be transformed
        whole = self.seconds * self.rate
        silent = self.padding == 0 and self.dither == 0
        samples = min(whole, len(waveform) + self.n_fft) if silent else whole
        padded = F.pad(waveform, (0, samples - len(waveform)), value=self.padding)
        if self.dither:
            noise = torch.randn(samples, generator=torch.Generator().manual_seed(0))
            padded = padded + self.dither * noise
        window = torch.hann_window(self.n_fft)
        power = torch.stft(padded, self.n_fft, self.hop, window=window, return_complex=True).abs().square()
        energy = mel_filters(self.n_mels, self.n_fft, self.rate) @ power[:, : self.frames]
        level = energy.clamp(min=1e-10).log10()
        level = F.pad(level, (0, self.frames - level.shape[1]), value=-10.0)
        return (level.clamp(min=float(level.max()) - 8.0) + 4.0) / 4.0


class Wave(Preprocessor):
    """The samples themselves, each recording scaled to zero mean and unit variance or not (Baevski et al. 2020, §2).

    Rows of different lengths are padded and masked, always: `return_attention_mask` only tells whether the model was trained
    so, and without a mask a row's result would depend on its batch. So would it if the scale were taken of padding too.
    """

    part: ClassVar[str] = "feature_extractor"
    kind: Literal["Wav2Vec2FeatureExtractor"] = Field("Wav2Vec2FeatureExtractor", alias="feature_extractor_type")
    """What makes the features there."""
    rate: int = Field(16_000, ge=RATES[0], le=RATES[1], alias="sampling_rate")
    """Samples a second."""
    normalise: bool = Field(True, alias="do_normalize")
    """Zero mean and unit variance."""
    padding: float = Field(0.0, alias="padding_value")
    """Value that stands behind shorter rows."""
    channels: Literal[1] = Field(1, alias="feature_size")
    """Values a sample."""

    def __call__(self, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """waveforms at `rate`, as :func:`read_audio` gives them -> (batch, samples), and the mask of the same shape."""
        rows = [self._scaled(torch.from_numpy(waveform)) for waveform in waveforms]
        lengths = torch.tensor([len(row) for row in rows])
        values = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.padding)
        mask = torch.arange(values.shape[1]) < lengths[:, None]
        return Features(values, None if bool(mask.all()) else mask)

    def _scaled(self, waveform: Tensor) -> Tensor:
        if not self.normalise:
            return waveform
        variance, mean = torch.var_mean(waveform, correction=0)
        return (waveform - mean) / (variance + 1e-7).sqrt()


@lru_cache(maxsize=8)
def mel_filters(n_mels: int, n_fft: int, rate: int) -> Tensor:
    """(n_mels, n_fft // 2 + 1) float32: from the power of frequencies to that of mel bands between 0 and 8000 Hz.

    Triangles of equal area on Slaney's scale (Auditory Toolbox, 1998): linear up to 1000 Hz, logarithmic above.
    """
    edges = _hertz(np.linspace(0.0, _mels(8000.0), n_mels + 2))
    frequencies = np.linspace(0.0, rate // 2, n_fft // 2 + 1)
    distance = edges[:, None] - frequencies
    width = np.diff(edges)[:, None]
    rising, falling = -distance[:-2] / width[:-1], distance[2:] / width[1:]
    area = (edges[2:] - edges[:-2])[:, None] / 2
    return torch.from_numpy((np.minimum(rising, falling).clip(min=0) / area).astype(np.float32))


STEP = np.log(6.4) / 27
"""Of the logarithm of the frequency, for one mel."""


def _mels(hertz: float) -> float:
    """Of a frequency from 1000 Hz on, which is 15 mels."""
    return float(15 + np.log(hertz / 1000) / STEP)


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * STEP))


def read_audio(path: str | Path, *, rate: int) -> NDArray[np.float32]:
    """A recording as (samples,) float32 at `rate` samples a second, from -1 to 1; several channels are averaged.

    Raises DataError for a file that is no sound, is damaged or cut off, holds too few samples, more than :data:`LONGEST`
    seconds, or samples that are not numbers; ConfigError without the extra `audio`.
    """
    try:
        import soundfile
        import soxr
    except (ImportError, OSError):  # soundfile without its library
        raise ConfigError("reading sound needs soundfile and soxr", fix="pip install 'regard[audio]'") from None
    path = Path(path)
    where = str(path)
    check_file(path)
    if path.suffix.lower() == ".raw":
        raise DataError("raw samples do not tell their rate", where=where, allowed=FORMATS, fix=CONVERT)
    try:
        sound = soundfile.SoundFile(path)
    except soundfile.SoundFileError:
        raise DataError("is no sound that can be read, or damaged", where=where, allowed=FORMATS, fix=CONVERT) from None
    with sound:
        _check_header(sound, where)
        resampler = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float32")
        pieces, samples = [], 0
        try:
            for block in _blocks(sound, where):
                samples += len(block)
                pieces.append(resampler.resample_chunk(block))
        except soundfile.SoundFileError as error:
            raise DataError(f"is damaged or cut off: {error}", where=where, fix="get the file again") from None
        pieces.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        _check_end(sound, samples, where)
    waveform = np.concatenate(pieces)
    if not len(waveform):
        raise DataError(f"holds {samples} samples", where=where, allowed=f"at least one at {rate} Hz", fix="record it again")
    return waveform


def _check_header(sound: Any, where: str) -> None:
    if not RATES[0] <= sound.samplerate <= RATES[1]:
        allowed = f"{RATES[0]} to {RATES[1]} samples a second"
        raise DataError(f"a rate of {sound.samplerate}", where=where, allowed=allowed, fix=CONVERT)
    if sound.frames > LONGEST * sound.samplerate:
        length = sound.frames / sound.samplerate / 60
        allowed = f"up to {LONGEST // 60} minutes"
        raise DataError(f"{length:.0f} minutes of sound", where=where, allowed=allowed, fix="cut it into pieces")


def _blocks(sound: Any, where: str) -> Iterator[NDArray[np.float32]]:
    """The recording in pieces, so that a header which lies about its length does not take memory."""
    size, start = max(1, 2**20 // sound.channels), 0
    while len(block := sound.read(size, dtype="float32", always_2d=True)):
        wrong = ~(np.abs(block) <= LOUDEST)  # also where it is not a number
        if wrong.any():
            index, channel = map(int, np.argwhere(wrong)[0])
            raise DataError(
                f"sample {block[index, channel]} in channel {channel + 1}",
                where=f"{where}, at {(start + index) / sound.samplerate:.3f} s",
                allowed="finite numbers, from -1 to 1",
                fix="write the file again, with integer samples",
            )
        yield block.mean(axis=1)
        start += len(block)


def _check_end(sound: Any, samples: int, where: str) -> None:
    """Whether all is there that the header promises; some programs cannot know when they write it, and promise 2 GB or 4."""
    sizes = re.findall(r"(\d+) \(should be (\d+)\)", sound.extra_info)
    missing = any(int(there) + 64 < int(promised) < 0x7FFF0000 for promised, there in sizes)
    if missing or samples + sound.samplerate / 10 < sound.frames:
        raise DataError(
            f"is cut off after {samples / sound.samplerate:.1f} s: its header promises more",
            where=where,
            fix="get the file again, or write what there is anew, as with: ffmpeg -i OLD NEW.wav",
        )
