"""Recordings: read as they sound, made into the features that `transformers` makes, and refused with a reason."""

import io
import json
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers.audio_utils import mel_filter_bank

from regard.data import audio
from regard.data.audio import LogMel, Wave, mel_filters, read_audio
from regard.errors import CheckpointError, ConfigError, DataError

Samples = NDArray[np.float32]
WHISPER = {"feature_extractor_type": "WhisperFeatureExtractor"}


def sound(samples: int, seed: int = 0) -> Samples:
    """Tones and noise, of the loudness of speech."""
    noise = np.random.default_rng(seed).standard_normal(samples) * 0.02
    return np.asarray(0.3 * np.sin(np.arange(samples) / (7 + seed)) + noise, dtype=np.float32)


def written(path: Path, samples: NDArray[Any], rate: int = 16_000, **options: Any) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


# ---- features ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"feature_size": 128},
        {"chunk_length": 2, "padding_value": 0.1},
        {"chunk_length": 3, "n_fft": 321, "hop_length": 111, "feature_size": 17, "sampling_rate": 22_050},
    ],
    ids=str,
)
@given(data=st.data())
@settings(deadline=None, max_examples=8)
def test_log_mel_frames_are_whispers(options: dict[str, Any], data: st.DataObject) -> None:
    theirs, ours = hf.WhisperFeatureExtractor(**options), LogMel.of({**WHISPER, **options}, where="")
    samples = data.draw(st.integers(1, min(theirs.n_samples, 40_000)) | st.just(min(theirs.n_samples, 66_150)))
    waveform = sound(samples, seed=data.draw(st.integers(0, 9)))
    expected = theirs(waveform, sampling_rate=theirs.sampling_rate, return_tensors="pt").input_features
    values, mask = ours([waveform])
    assert mask is None
    assert values.shape == expected.shape == (1, ours.n_mels, ours.frames)
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=0)


def test_a_recordings_frames_do_not_depend_on_its_batch() -> None:
    waveforms = [sound(5000), sound(16_000, seed=1), np.zeros(300, np.float32)]
    together = LogMel()(waveforms).values
    for i, waveform in enumerate(waveforms):
        assert torch.equal(together[i], LogMel()([waveform]).values[0])
    assert together[2].unique().tolist() == [-1.5]  # silence


def test_dither_is_the_same_each_time() -> None:
    plain, dithered = LogMel.of({}, where=""), LogMel.of({"dither": 1e-3}, where="")
    once = dithered([sound(8000)]).values
    assert torch.equal(once, dithered([sound(8000)]).values)
    difference = once - plain([sound(8000)]).values
    assert difference[:, :, :50].abs().mean() < 0.05  # sound drowns it
    assert difference[:, :, 60:].mean() > 0.1  # silence does not


@pytest.mark.parametrize(("n_mels", "n_fft", "rate"), [(80, 400, 16_000), (128, 400, 16_000), (7, 511, 44_100)])
def test_mel_filters_are_slaneys(n_mels: int, n_fft: int, rate: int) -> None:
    theirs = mel_filter_bank(n_fft // 2 + 1, n_mels, 0.0, 8000.0, rate, norm="slaney", mel_scale="slaney")
    torch.testing.assert_close(mel_filters(n_mels, n_fft, rate), torch.from_numpy(theirs.T).float(), atol=1e-8, rtol=1e-5)


@pytest.mark.parametrize("normalise", [True, False])
@given(lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=4))
@settings(deadline=None, max_examples=20)
def test_waveforms_are_wav2vec2s(normalise: bool, lengths: list[int]) -> None:
    options = {"do_normalize": normalise, "padding_value": 0.0, "return_attention_mask": True}
    theirs = hf.Wav2Vec2FeatureExtractor(**options)
    ours = Wave.of({"feature_extractor_type": "Wav2Vec2FeatureExtractor", **options}, where="")
    waveforms = [sound(length, seed=i) + 0.1 for i, length in enumerate(lengths)]
    expected = theirs(waveforms, sampling_rate=16_000, padding=True, return_tensors="pt")
    values, mask = ours(waveforms)
    torch.testing.assert_close(values, expected.input_values.float(), atol=1e-4, rtol=1e-4)
    assert (mask is None) == (len(set(lengths)) == 1)
    assert mask is None or torch.equal(mask, expected.attention_mask.bool())
    for i, waveform in enumerate(waveforms):
        assert torch.equal(values[i, : len(waveform)], ours([waveform]).values[0])


def test_silence_stays_silent() -> None:
    assert Wave()([np.zeros(100, np.float32)]).values.abs().max() == 0


@pytest.mark.parametrize(("count", "where"), [(1, ""), (2, "recording 2: ")])
def test_more_than_a_chunk_is_refused(count: int, where: str) -> None:
    waveforms = [sound(100), sound(32_001)][-count:]
    with pytest.raises(DataError) as caught:
        LogMel.of({"chunk_length": 2}, where="")(waveforms)
    assert str(caught.value).splitlines() == [
        f"{where}2.0 s of sound",
        "  allowed: up to 2 s at a time",
        "  fix: cut it into pieces, best where nobody speaks",
    ]


# ---- settings ------------------------------------------------------------------------------------------------------------


def test_settings_of_a_folder(tmp_path: Path) -> None:
    values = {**WHISPER, "feature_size": 128, "nb_max_frames": 3000, "dither": None, "processor_class": "WhisperProcessor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values), encoding="utf-8")
    ours = LogMel.read(tmp_path)
    assert (ours.n_mels, ours.rate, ours.dither) == (128, 16_000, 0.0)
    assert ours.original == values


@pytest.mark.parametrize(
    ("ours", "theirs"), [(LogMel, hf.WhisperFeatureExtractor(feature_size=10)), (Wave, hf.Wav2Vec2FeatureExtractor())]
)
def test_what_transformers_saves_is_read_and_travels_back(ours: Any, theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    read = ours.read(tmp_path)
    assert type(theirs).from_dict(read.original).to_dict() == theirs.to_dict()
    (tmp_path / "preprocessor_config.json").rename(tmp_path / "of_processor.json")
    whole = {"feature_extractor": read.original, "processor_class": "X"}
    (tmp_path / "processor_config.json").write_text(json.dumps(whole), encoding="utf-8")
    assert ours.read(tmp_path) == read
    assert ours.read(tmp_path).original == read.original


def test_all_that_is_wrong_is_told_at_once() -> None:
    values = {**WHISPER, "n_fft": 0, "hop_length": "fast", "sampling_rate": 10**9, "padding_value": float("nan")}
    with pytest.raises(ConfigError) as caught:
        LogMel.of(values, where="x.json")
    said = [str(problem).splitlines() for problem in caught.value.problems]
    assert [lines[0] for lines in said] == [
        "x.json: key 'sampling_rate' is 1000000000",
        "x.json: key 'n_fft' is 0",
        "x.json: key 'hop_length' is 'fast'",
        "x.json: key 'padding_value' is nan",
    ]
    assert said[0][1] == "  allowed: input should be less than or equal to 48000"


def test_frames_are_not_too_dense() -> None:
    assert LogMel.of({"n_fft": 1600, "hop_length": 100}, where="").hop == 100
    with pytest.raises(ConfigError, match="must be at least a sixteenth of n_fft"):
        LogMel.of({"n_fft": 1601, "hop_length": 100}, where="")


json_values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
)
KEYS = "feature_size sampling_rate n_fft hop_length chunk_length padding_value dither do_normalize feature_extractor_type"


@given(values=st.dictionaries(st.sampled_from(KEYS.split()), json_values, max_size=4))
@settings(deadline=None)
def test_settings_are_right_or_told_to_be_wrong(values: dict[str, Any]) -> None:
    for kind in (LogMel, Wave):
        try:
            read = kind.of(values, where="x.json")
        except ConfigError as error:
            assert {problem.where for problem in error.problems} == {"x.json"}
        else:
            assert read([sound(500)]).values.isfinite().all()


@pytest.mark.parametrize(("kind", "other"), [(LogMel, "Wav2Vec2FeatureExtractor"), (Wave, "SeamlessM4TFeatureExtractor")])
def test_another_kind_is_refused(kind: Any, other: str) -> None:
    with pytest.raises(ConfigError, match=f"key 'feature_extractor_type' is '{other}'"):
        kind.of({"feature_extractor_type": other}, where="x.json")


@pytest.mark.parametrize("content", [None, {"image_processor": {}}, {"feature_extractor": 3}])
def test_a_folder_without_settings(content: object, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "processor_config.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"no preprocessor_config\.json"):
        LogMel.read(tmp_path)


# ---- files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "loss"), [("wav", 1e-4), ("flac", 1e-4), ("aiff", 1e-4), ("ogg", 0.1), ("mp3", 0.1)])
def test_a_recording_is_read_in_any_format(ending: str, loss: float, tmp_path: Path) -> None:
    waveform = sound(16_000)
    read = read_audio(str(written(tmp_path / f"x.{ending}", waveform)), rate=16_000)
    assert read.dtype == np.float32
    assert abs(len(read) - 16_000) < 1200  # mp3 pads
    assert np.abs(read[2000:12_000] - waveform[2000:12_000]).max() < loss


@pytest.mark.parametrize("samples", [1, 7000, 2**20 + 12_345])
@pytest.mark.parametrize(("channels", "rate"), [(1, 16_000), (3, 16_000), (1, 44_100), (2, 8000)])
def test_channels_are_averaged_and_the_rate_is_changed(samples: int, channels: int, rate: int, tmp_path: Path) -> None:
    several = np.stack([sound(samples, seed=i) for i in range(channels)], axis=1)
    path = written(tmp_path / "x.wav", several, rate, subtype="FLOAT")
    expected = soxr.resample(several.mean(axis=1), rate, 16_000)
    if not len(expected):
        with pytest.raises(DataError, match="holds 1 samples"):
            read_audio(path, rate=16_000)
    else:
        np.testing.assert_allclose(read_audio(path, rate=16_000), expected, atol=1e-6)


def test_loud_float_samples_are_sound(tmp_path: Path) -> None:
    path = written(tmp_path / "x.wav", sound(100) * 32_768, subtype="FLOAT")
    assert np.abs(read_audio(path, rate=16_000)).max() > 5000


def encoded(samples: NDArray[Any], format: str = "WAV", rate: int = 16_000, **options: Any) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=format, **options)
    return stream.getvalue()


def with_size(raw: bytes, size: int) -> bytes:
    """A wav file whose header says another number of bytes, as of sound that was written to a pipe."""
    return raw[:4] + struct.pack("<I", size) + raw[8:40] + struct.pack("<I", size) + raw[44:]


def with_rate(raw: bytes, rate: int) -> bytes:
    return raw[:24] + struct.pack("<I", rate) + raw[28:]


def with_frames(raw: bytes, frames: int) -> bytes:
    """A flac file whose header says another number of samples."""
    return raw[:21] + bytes([raw[21] & 0xF0 | frames >> 32]) + struct.pack(">I", frames & 0xFFFFFFFF) + raw[26:]


PLAIN = sound(8000)
WAV, FLAC, OGG = encoded(PLAIN), encoded(PLAIN, "FLAC"), encoded(PLAIN, "OGG")
HOLE = np.where(np.arange(8000) == 4000, np.nan, PLAIN)
STEREO = np.stack([PLAIN, np.where(np.arange(8000) == 1600, np.inf, PLAIN)], axis=1)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF024, len(WAV) - 44 + 20])
def test_a_header_written_before_the_end_was_known_is_no_damage(size: int, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(with_size(WAV, size))
    assert len(read_audio(tmp_path / "x.wav", rate=16_000)) == 8000


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.wav", b"", ("x.wav: the file is empty", "fix: check that it was written")),
        ("x.wav", b"text, no sound\n" * 99, ("x.wav: is no sound that can be read", "allowed: wav, flac, ogg", "ffmpeg -i")),
        ("x.mp3", b"ID3 is not all there is to it", ("x.mp3: is no sound that can be read", "allowed: wav")),
        ("x.wav", b"\x89PNG\r\n\x1a\n" + b"x" * 99, ("x.wav: is no sound that can be read",)),
        ("x.wav", WAV[:30], ("x.wav: is no sound that can be read",)),
        ("x.raw", WAV, ("x.raw: raw samples do not tell their rate", "fix: convert it")),
        ("x.wav", encoded(PLAIN[:0]), ("x.wav: holds 0 samples", "allowed: at least one at 16000 Hz")),
        ("x.wav", WAV[:9000], ("x.wav: is cut off after 0.3 s: its header promises more", "fix: get the file again")),
        ("x.aiff", encoded(PLAIN, "AIFF")[:9000], ("x.aiff: is cut off after 0.3 s",)),
        ("x.flac", FLAC[: len(FLAC) // 2], ("x.flac: is damaged or cut off", "fix: get the file again")),
        ("x.flac", FLAC[:6000] + b"\0" * 99 + FLAC[6099:], ("x.flac: is damaged or cut off",)),
        ("x.ogg", OGG[:60], ("x.ogg: is no sound that can be read, or damaged",)),
        (
            "x.flac",
            with_frames(FLAC, 2**36 - 1),
            ("x.flac: 71583 minutes of sound", "allowed: up to 60 minutes", "cut it"),
        ),
        ("x.flac", with_frames(FLAC, 16_000 * 3000), ("x.flac: is damaged or cut off",)),
        ("x.wav", encoded(HOLE, subtype="FLOAT"), ("x.wav, at 0.250 s: sample nan in channel 1", "allowed: finite numbers")),
        ("x.wav", encoded(STEREO, subtype="FLOAT"), ("x.wav, at 0.100 s: sample inf in channel 2",)),
        ("x.wav", encoded(PLAIN * 1e30, subtype="DOUBLE"), ("x.wav, at 0.000 s: sample ", "from -1 to 1")),
        (
            "x.wav",
            with_rate(WAV, 2_000_000_000),
            ("x.wav: a rate of 2000000000", "allowed: 1000 to 768000 samples a second"),
        ),
        ("x.wav", with_rate(WAV, 100), ("x.wav: a rate of 100",)),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_no_sound_is_refused(name: str, content: bytes, says: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_audio(tmp_path / name, rate=16_000)
    said = str(caught.value)
    assert str(tmp_path / name) in said
    for fragment in says:
        assert fragment in said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_audio(tmp_path / "x.wav", rate=16_000)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_audio(tmp_path, rate=16_000)


def test_the_length_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "LONGEST", 0)
    with pytest.raises(DataError, match="0 minutes of sound"):
        read_audio(written(tmp_path / "x.wav", PLAIN), rate=16_000)


@pytest.mark.parametrize("missing", ["soundfile", "soxr"])
def test_without_the_extra_it_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError) as caught:
        read_audio("x.wav", rate=16_000)
    assert str(caught.value) == "reading sound needs soundfile and soxr\n  fix: pip install 'regard[audio]'"


MUTATIONS: list[Callable[[bytearray, int, int], None]] = [
    lambda raw, at, value: raw.__setitem__(at, value),
    lambda raw, at, value: raw.__delitem__(slice(at, at + value)),
    lambda raw, at, value: raw.__setitem__(slice(at, at + 4), bytes([value]) * 4),
    lambda raw, at, value: raw.__delitem__(slice(at, None)),
]


@pytest.mark.parametrize(
    "content", [WAV, FLAC, OGG, encoded(PLAIN, "AIFF"), encoded(PLAIN, "CAF"), encoded(PLAIN, subtype="FLOAT")]
)
@given(
    changes=st.lists(st.tuples(st.sampled_from(MUTATIONS), st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4)
)
@settings(deadline=None, max_examples=40)
def test_damage_is_told_and_never_a_traceback(
    content: bytes,
    changes: list[tuple[Callable[[bytearray, int, int], None], int, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    raw = bytearray(content)
    for change, at, value in changes:
        if at < len(raw):
            change(raw, at, value)
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    path.write_bytes(raw)
    try:
        read = read_audio(path, rate=16_000)
    except DataError as error:
        assert "damaged.wav" in str(error)
    else:
        assert np.isfinite(read).all()


# ---- real recordings -----------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_speech_gives_the_features_that_transformers_makes(shared: Path) -> None:
    files = sorted((shared / "data" / "librivox").glob("*.wav"))
    waveforms = [read_audio(path, rate=16_000) for path in files]
    assert len(files) == 10
    for path, waveform in zip(files, waveforms, strict=True):
        assert abs(len(waveform) / 16_000 - soundfile.info(path).duration) < 1e-3
    with warnings.catch_warnings(action="ignore"):
        whisper = hf.WhisperFeatureExtractor()(waveforms, sampling_rate=16_000, return_tensors="pt").input_features
        wave = hf.Wav2Vec2FeatureExtractor(return_attention_mask=True)(
            waveforms, sampling_rate=16_000, padding=True, return_tensors="pt"
        )
    torch.testing.assert_close(LogMel()(waveforms).values, whisper, atol=1e-4, rtol=0)
    values, mask = Wave()(waveforms)
    assert mask is not None
    torch.testing.assert_close(values, wave.input_values.float(), atol=1e-4, rtol=1e-4)
    assert torch.equal(mask, wave.attention_mask.bool())


@pytest.mark.real
def test_telephone_speech_is_brought_to_the_models_rate(shared: Path) -> None:
    for path in sorted((shared / "data" / "fsdd" / "recordings").glob("7_*_3.wav")):
        waveform, info = read_audio(path, rate=16_000), soundfile.info(path)
        assert info.samplerate == 8000
        assert abs(len(waveform) - 2 * info.frames) <= 2
        spectrum = np.abs(np.fft.rfft(waveform)) ** 2
        assert spectrum[len(spectrum) // 2 + 50 :].sum() < 1e-3 * spectrum.sum()  # nothing above 4 kHz is made up
