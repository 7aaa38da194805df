"""Images: read as they look, made into the pixels that `transformers` makes, and refused with a reason."""

import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from regard.data import image as module
from regard.data.image import Pixels, plain, read_image
from regard.errors import ConfigError, DataError

THEIRS: dict[str, Any] = {
    "ViTImageProcessor": ViTImageProcessorPil,
    "DeiTImageProcessor": DeiTImageProcessorPil,
    "CLIPImageProcessor": CLIPImageProcessorPil,
}


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Colours that change smoothly, and noise."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    channels = [127 + 80 * np.sin(x / (5 + i) + y / (9 - i) + seed) + rng.normal(0, 15, x.shape) for i in range(3)]
    return Image.fromarray(np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)).convert(mode)


def ours_and_theirs(kind: str, **options: Any) -> tuple[Pixels, Any]:
    return Pixels.of({"image_processor_type": kind, **options}, where=""), THEIRS[kind](**options)


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs.float(), atol=1e-5, rtol=1e-6)


# ---- pixels --------------------------------------------------------------------------------------------------------------

side = st.integers(1, 90)


@pytest.mark.parametrize("kind", THEIRS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"size": {"height": 30, "width": 20}, "resample": 0},
        {"size": {"shortest_edge": 17}, "resample": 3, "do_center_crop": True, "crop_size": {"height": 16, "width": 15}},
        {"size": {"shortest_edge": 9}, "resample": 1, "do_center_crop": True, "crop_size": {"height": 21, "width": 8}},
        {"size": 24, "crop_size": 20, "do_rescale": False},
        {"size": [24, 20], "do_normalize": False, "rescale_factor": 0.5},
        {"do_resize": False, "do_center_crop": True, "crop_size": [41, 30]},
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [1.0, 2.0, 0.5], "size": {"height": 7, "width": 7}},
    ],
    ids=str,
)
@given(width=side, height=side)
@settings(deadline=None, max_examples=10)
def test_pixels_are_transformers(kind: str, options: dict[str, Any], width: int, height: int) -> None:
    ours, theirs = ours_and_theirs(kind, **options)
    image = picture(width, height)
    close(ours([image]), theirs(image, return_tensors="pt").pixel_values)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "PA"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = picture(40, 30, "RGBA" if mode in ("RGBA", "LA", "PA") else "RGB")
    if image.mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image = image.convert(mode) if mode != "PA" else image.convert("P").convert("PA")
    ours, theirs = ours_and_theirs("CLIPImageProcessor")
    close(ours([image]), theirs(image, return_tensors="pt").pixel_values)


def test_a_model_may_read_grey_images() -> None:
    ours = Pixels.of(
        {"image_processor_type": "ViTImageProcessor", "size": 8, "image_mean": [0.5], "image_std": [0.25]}, where=""
    )
    grey = picture(8, 8, "L")
    expected = (torch.from_numpy(np.array(grey)).float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(ours([grey, grey.convert("RGB")]), expected.expand(2, 1, 8, 8))


def test_images_come_in_batches() -> None:
    ours, _ = ours_and_theirs("DeiTImageProcessor")
    images = [picture(40, 30), picture(30, 40, seed=1), picture(300, 299, "L", seed=2)]
    together = ours(images)
    assert together.shape == (3, 3, 224, 224)
    for i, image in enumerate(images):
        assert torch.equal(together[i], ours([image])[0])


def test_images_of_different_sizes_make_no_batch() -> None:
    ours, _ = ours_and_theirs("ViTImageProcessor", do_resize=False)
    assert ours([picture(4, 5), picture(4, 5)]).shape == (2, 3, 5, 4)
    with pytest.raises(DataError, match="images of different heights and widths: 5 x 4 and 6 x 4"):
        ours([picture(4, 5), picture(4, 6)])


def test_what_would_grow_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = ours_and_theirs("CLIPImageProcessor")
    with pytest.raises(DataError, match="image 2: 1 x 60000 pixels become 224 x 13440000 when resized"):
        ours([picture(4, 4), Image.new("RGB", (1, 60_000))])


# ---- settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", THEIRS)
def test_what_transformers_saves_is_read_and_travels_back(kind: str, tmp_path: Path) -> None:
    theirs = THEIRS[kind]()
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    read = Pixels.read(tmp_path)
    assert read.original == saved
    close(read([picture(50, 70)]), theirs(picture(50, 70), return_tensors="pt").pixel_values)
    path.unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": saved}), encoding="utf-8")
    assert Pixels.read(tmp_path) == read
    assert Pixels.of({"image_processor_type": kind}, where="").model_dump() == read.model_dump()  # the defaults are theirs


@pytest.mark.parametrize(
    ("spelling", "kind"),
    [
        ({"image_processor_type": "ViTImageProcessorFast"}, "ViTImageProcessor"),
        ({"image_processor_type": "CLIPImageProcessorPil"}, "CLIPImageProcessor"),
        ({"feature_extractor_type": "DeiTFeatureExtractor"}, "DeiTImageProcessor"),
        ({"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224}, "CLIPImageProcessor"),
        ({"feature_extractor_type": "ViTFeatureExtractor", "size": 224, "do_convert_rgb": None}, "ViTImageProcessor"),
    ],
)
def test_older_and_newer_spellings(spelling: dict[str, Any], kind: str) -> None:
    assert Pixels.of(spelling, where="").model_dump() == Pixels.of({"image_processor_type": kind}, where="").model_dump()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"size": {"longest_edge": 9}}, "unknown key 'size.longest_edge'"),
        ({"size": {"height": 9}}, "must have height and width, or shortest_edge"),
        ({"size": {"height": 0, "width": 3}}, "key 'size.height' is 0"),
        ({"size": {"height": 10**9, "width": 3}}, "key 'size.height' is 1000000000"),
        ({"size": "large"}, "key 'size' is 'large'"),
        ({"do_center_crop": True, "crop_size": {"shortest_edge": 9}}, "must have height and width"),
        ({"do_center_crop": True}, "key 'crop_size' is None"),
        ({"resample": 6}, "key 'resample' is 6"),
        ({"image_mean": [0.5, 0.5]}, "must have 3 values, or 1 for grey images"),
        ({"image_std": [0.5]}, "must have as many values as image_mean"),
        ({"image_std": [0.5, 0.5, 0]}, "key 'image_std.2' is 0"),
        ({"rescale_factor": float("inf")}, "key 'rescale_factor' is inf"),
        ({"image_processor_type": "BeitImageProcessor"}, "key 'image_processor_type' is 'BeitImageProcessor'"),
        ({"image_processor_type": None}, "missing key 'image_processor_type'"),
        ({"image_processor_type": 3}, "key 'image_processor_type' is 3"),
    ],
    ids=str,
)
def test_wrong_settings_are_told(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Pixels.of({"image_processor_type": "ViTImageProcessor", **values}, where="x.json")
    assert says in str(caught.value)
    assert all(problem.where == "x.json" for problem in caught.value.problems)


numbers = st.integers(-3, 400) | st.floats()
sizes = st.dictionaries(st.sampled_from(("height", "width", "shortest_edge", "longest_edge")), numbers, max_size=3)
json_values = st.none() | st.booleans() | numbers | st.text(max_size=3) | st.lists(numbers, max_size=4) | sizes
KEYS = "size crop_size resample do_resize do_center_crop do_rescale rescale_factor do_normalize image_mean image_std"


@pytest.mark.parametrize("kind", THEIRS)
@given(values=st.dictionaries(st.sampled_from(KEYS.split()), json_values, max_size=4))
@settings(deadline=None)
def test_settings_are_right_or_told_to_be_wrong(kind: str, values: dict[str, Any]) -> None:
    try:
        read = Pixels.of({"image_processor_type": kind, **values}, where="x.json")
    except ConfigError as error:
        assert {problem.where for problem in error.problems} == {"x.json"}
    else:
        assert read([picture(6, 9)]).shape[:2] == (1, len(read.mean))


# ---- files ---------------------------------------------------------------------------------------------------------------


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def turned() -> Image.Exif:
    """What a camera that is held sideways writes."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP", "JPEG"])
def test_an_image_is_read_in_any_format(format: str, tmp_path: Path) -> None:
    image = picture(60, 40, "P" if format == "GIF" else "RGB")
    (tmp_path / "x").write_bytes(encoded(image, format, lossless=True, quality=95, subsampling=0))
    read = read_image(str(tmp_path / "x"))
    assert read.mode == "RGB"
    difference = np.abs(np.array(read).astype(int) - np.array(image.convert("RGB")).astype(int))
    assert difference.mean() < (6 if format == "JPEG" else 1e-9)


def test_a_photograph_is_turned_upright(turned: Image.Exif, tmp_path: Path) -> None:
    image = picture(60, 40)
    image.save(tmp_path / "x.png", exif=turned)
    assert np.array_equal(np.array(read_image(tmp_path / "x.png")), np.rot90(np.array(image), -1))


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    image.putpixel((1, 0), (10, 20, 30, 0))
    image.save(tmp_path / "x.png")
    assert np.array(read_image(tmp_path / "x.png")).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_the_first_of_several_pictures_is_taken(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (3, 3), "red"), Image.new("RGB", (3, 3), "blue")
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    assert np.array(read_image(tmp_path / "x.gif"))[0, 0].tolist() == [255, 0, 0]


PNG, JPEG = encoded(picture(64, 48), "PNG"), encoded(picture(64, 48), "JPEG")
DEEP = Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000)


def bomb(pixels: int) -> bytes:
    """A small file that says it is very large."""
    return b"P5 " + str(pixels // 1000).encode() + b" 1000 255\n"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.png", b"", ("x.png: the file is empty", "fix: check that it was written")),
        ("x.jpg", b"text, no picture\n" * 99, ("x.jpg: is no image that can be read", "allowed: jpeg, png", "fix: convert")),
        ("x.png", b"RIFF\x24\0\0\0WAVEfmt ", ("x.png: is no image that can be read",)),
        ("x.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", ("x.eps: is no image that can be read",)),
        ("x.png", PNG[:20], ("x.png: is ", "fix: ")),
        ("x.png", PNG[: len(PNG) // 2], ("x.png: is damaged or cut off", "fix: get the file again")),
        ("x.jpg", JPEG[: len(JPEG) // 2], ("x.jpg: is damaged or cut off: image file is truncated",)),
        ("x.png", PNG[:99] + b"\0" * 40 + PNG[139:], ("x.png: is damaged or cut off",)),
        ("x.png", encoded(DEEP, "PNG"), ("x.png: has more than 8 bits a channel", "allowed: 8 bits", "fix: save it with 8")),
        ("x.tif", encoded(Image.new("F", (4, 3)), "TIFF"), ("x.tif: has more than 8 bits a channel (mode F)",)),
        ("x.pgm", bomb(85_000_000), ("x.pgm: has too many pixels", "allowed: up to 80 million", "fix: make it smaller")),
        ("x.pgm", bomb(100_000_000), ("x.pgm: has too many pixels",)),
        ("x.pgm", bomb(10**10), ("x.pgm: has too many pixels",)),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_no_image_is_refused(name: str, content: bytes, says: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / name)
    said = str(caught.value)
    assert str(tmp_path / name) in said
    for fragment in says:
        assert fragment in said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_image(tmp_path / "x.png")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_image(tmp_path)


@pytest.mark.parametrize("mode", module.DEEP)
def test_deep_images_are_refused_wherever_they_come_from(mode: str) -> None:
    with pytest.raises(DataError, match=f"here: has more than 8 bits a channel \\(mode {mode}\\)"):
        plain(Image.new(mode, (2, 2)), where="here")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ConfigError) as caught:
        read_image("x.png")
    assert str(caught.value) == "reading images needs Pillow\n  fix: pip install 'regard[image]'"


MUTATIONS: list[Callable[[bytearray, int, int], None]] = [
    lambda raw, at, value: raw.__setitem__(at, value),
    lambda raw, at, value: raw.__delitem__(slice(at, at + value)),
    lambda raw, at, value: raw.__setitem__(slice(at, at + 4), bytes([value]) * 4),
    lambda raw, at, value: raw.__delitem__(slice(at, None)),
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of odd metadata
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
@given(
    changes=st.lists(st.tuples(st.sampled_from(MUTATIONS), st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4)
)
@settings(deadline=None, max_examples=40)
def test_damage_is_told_and_never_a_traceback(
    format: str,
    turned: Image.Exif,
    changes: list[tuple[Callable[[bytearray, int, int], None], int, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    raw = bytearray(encoded(picture(20, 15), format, exif=turned))
    for change, at, value in changes:
        if at < len(raw):
            change(raw, at, value)
    path = tmp_path_factory.getbasetemp() / "damaged.image"
    path.write_bytes(raw)
    try:
        read = read_image(path)
    except DataError as error:
        assert "damaged.image" in str(error)
    else:
        assert read.mode == "RGB"


# ---- real images ---------------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("kind", THEIRS)
def test_photographs_give_the_pixels_that_transformers_makes(kind: str, shared: Path) -> None:
    files = sorted((shared / "data" / "flickr8k" / "images").glob("*.jpg"))[::40]
    assert len(files) == 10
    ours, theirs = ours_and_theirs(kind)
    images = [Image.open(path) for path in files]
    close(ours([read_image(path) for path in files]), theirs(images, return_tensors="pt").pixel_values)


@pytest.mark.real
def test_small_grey_images_give_the_pixels_that_transformers_makes(shared: Path) -> None:
    raw = gzip.decompress((shared / "data" / "fashion_mnist" / "fashion12k.images.u8.gz").read_bytes())
    images = [Image.fromarray(each) for each in np.frombuffer(raw, np.uint8).reshape(-1, 28, 28)[:20]]
    ours, theirs = ours_and_theirs("ViTImageProcessor", size={"height": 32, "width": 32})
    close(ours(images), theirs([image.convert("RGB") for image in images], return_tensors="pt").pixel_values)
