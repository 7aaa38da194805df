"""Pictures to what a vision model reads: resized, cropped, scaled and normalised pixels.

Needs the extra `image` (Pillow).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from regard.config import Settings
from regard.data.media import Preprocessor, check_file
from regard.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LARGEST = 80_000_000
"""Pixels of the largest image that is read, and of what it may be resized to on its way to a crop; 240 MB of memory."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is opened. Pillow knows more, some of them by calling other programs (EPS)."""

DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Modes of more than 8 bits a channel, in which Pillow would not scale but cut off what does not fit into 8."""

HALF = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
PHOTOGRAPHS = {"image_mean": (0.48145466, 0.4578275, 0.40821073), "image_std": (0.26862954, 0.26130258, 0.27577711)}
CROPPED = {"resample": 3, "do_center_crop": True, "crop_size": 224}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "ViTImageProcessor": {"size": 224, "resample": 2, **HALF},
    "DeiTImageProcessor": {"size": 256, **CROPPED, **HALF},
    "CLIPImageProcessor": {"size": 224, **CROPPED, **PHOTOGRAPHS},
}
"""Kind of preprocessor -> what the keys mean that its file leaves out."""

Side = Annotated[int, Field(ge=1, le=4096)]


class Size(Settings):
    """A height and a width in pixels, or the length of the shorter side, which leaves the shape as it is."""

    height: Side | None = None
    """In pixels."""
    width: Side | None = None
    """In pixels."""
    shortest_edge: Side | None = None
    """In pixels."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = self.height is not None, self.width is not None, self.shortest_edge is not None
        if given not in ((True, True, False), (False, False, True)):
            raise ValueError("must have height and width, or shortest_edge")
        return self

    def of(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of what an image becomes."""
        if self.width is not None and self.height is not None:
            return self.width, self.height
        short = self.shortest_edge or 0
        long = int(short * max(width, height) / min(width, height))
        return (short, long) if width <= height else (long, short)


class Pixels(Preprocessor):
    """Resize, crop, scale, normalise: the preprocessors of ViT, DeiT and CLIP, which differ in their numbers.

    Images are taken in as many channels as there are means: 3, RGB, or 1, grey; what is transparent becomes white.
    """

    part: ClassVar[str] = "image_processor"
    kind: Literal["ViTImageProcessor", "DeiTImageProcessor", "CLIPImageProcessor"] = Field(alias="image_processor_type")
    """What makes the pixels there; older files say `feature_extractor_type`."""
    resize: bool = Field(True, alias="do_resize")
    """Resize to `size`."""
    size: Size
    """What to resize to."""
    resample: Literal[0, 1, 2, 3, 4, 5]
    """The filter, by Pillow's number: nearest, Lanczos, bilinear, bicubic, box, Hamming."""
    crop: bool = Field(False, alias="do_center_crop")
    """Cut `crop_size` out of the middle; what is smaller gets a black margin."""
    crop_size: Size | None = None
    """Height and width of the crop."""
    scale: bool = Field(True, alias="do_rescale")
    """Multiply by `factor`."""
    factor: float = Field(1 / 255, alias="rescale_factor")
    """From 0 … 255 to what `mean` and `deviation` are meant for."""
    normalise: bool = Field(True, alias="do_normalize")
    """Subtract `mean` and divide by `deviation`."""
    mean: tuple[float, ...] = Field(alias="image_mean")
    """Of each channel."""
    deviation: tuple[Annotated[float, Field(gt=0)], ...] = Field(alias="image_std")
    """Of each channel."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """The file's values with its kind's name of today, its defaults, and sizes written out."""
        if not isinstance(values, Mapping):
            return values
        name = values.get("image_processor_type") or values.get("feature_extractor_type")
        if not isinstance(name, str):
            return values
        kind = name.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
        told = {**DEFAULTS.get(kind, {}), **values, "image_processor_type": kind if kind in DEFAULTS else name}
        square = kind != "CLIPImageProcessor"
        sizes = {"size": _size(told.get("size"), square=square), "crop_size": _size(told.get("crop_size"), square=True)}
        return {**told, **sizes}

    @field_validator("mean")
    @classmethod
    def _channels(cls, mean: tuple[float, ...]) -> tuple[float, ...]:
        if len(mean) not in (1, 3):
            raise ValueError("must have 3 values, or 1 for grey images")
        return mean

    @field_validator("deviation")
    @classmethod
    def _as_many(cls, deviation: tuple[float, ...], info: Any) -> tuple[float, ...]:
        if len(deviation) != len(info.data.get("mean", deviation)):
            raise ValueError("must have as many values as image_mean")
        return deviation

    @field_validator("crop_size")
    @classmethod
    def _both_sides(cls, size: Size | None, info: Any) -> Size | None:
        if info.data.get("crop") and (size is None or size.height is None):
            raise ValueError("must have height and width")
        return size

    def __call__(self, images: Sequence[Picture]) -> Tensor:
        """Images as :func:`read_image` or Pillow gives them -> (batch, channels, height, width) float32.

        Raises DataError for one with more than 8 bits a channel, or too long and narrow to be resized, and where images
        neither resized to one size nor cropped differ in theirs.
        """
        wheres = [f"image {number}" if len(images) > 1 else "" for number in range(1, len(images) + 1)]
        pixels = [self._pixels(plain(image, where=where), where) for image, where in zip(images, wheres, strict=True)]
        sizes = dict.fromkeys(tuple(each.shape[1:]) for each in pixels)
        if len(sizes) > 1:
            found = " and ".join(f"{height} x {width}" for height, width in list(sizes)[:2])
            raise DataError(f"images of different heights and widths: {found}", allowed="one size", fix="resize them")
        return torch.stack(pixels)

    def _pixels(self, image: Picture, where: str) -> Tensor:
        if len(self.mean) == 1:
            image = image.convert("L")
        if self.resize:
            size = self.size.of(*image.size)
            if size[0] * size[1] > LARGEST:
                what = f"{image.width} x {image.height} pixels become {size[0]} x {size[1]} when resized"
                allowed = f"up to {LARGEST // 10**6} million pixels"
                raise DataError(what, where=where, allowed=allowed, fix="crop the image")
            image = image.resize(size, resample=self.resample)
        if self.crop and self.crop_size is not None:
            width, height = self.crop_size.of(*image.size)
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        values = torch.from_numpy(np.array(image)).view(image.height, image.width, -1).permute(2, 0, 1).float()
        if self.scale:
            values = values * self.factor
        if self.normalise:
            values = (values - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.deviation)[:, None, None]
        return values.contiguous()


def _size(value: Any, *, square: bool) -> Any:
    """A size in its form of today: older files give one number, of both sides or of the shorter one, or a list of two."""
    match value:
        case int():
            return {"height": value, "width": value} if square else {"shortest_edge": value}
        case [height, width]:
            return {"height": height, "width": width}
    return value


def read_image(path: str | Path) -> Picture:
    """An image file in RGB, turned upright as its camera says, on white where it is transparent; of several pictures in it
    the first.

    Raises DataError for a file that is no image of :data:`FORMATS`, is damaged or cut off, or has more than :data:`LARGEST`
    pixels; ConfigError without the extra `image`.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise ConfigError("reading images needs Pillow", fix="pip install 'regard[image]'") from None
    path = Path(path)
    where = str(path)
    check_file(path)
    try:
        image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        allowed = ", ".join(FORMATS).lower()
        raise DataError("is no image that can be read", where=where, allowed=allowed, fix="convert it") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(where) from None
    except Exception as error:  # Pillow's readers of damaged files raise whatever they run into
        raise _damaged(error, where) from None
    with image:
        if image.width * image.height > LARGEST:
            raise _too_large(where)
        try:
            image.load()
            upright = ImageOps.exif_transpose(image)
        except Exception as error:
            raise _damaged(error, where) from None
        return plain(upright, where=where)


def plain(image: Picture, *, where: str) -> Picture:
    """An image of Pillow's in RGB, on white where it is transparent.

    Raises DataError for one with more than 8 bits a channel.
    """
    from PIL import Image

    if image.mode in DEEP:
        what, allowed = f"has more than 8 bits a channel (mode {image.mode})", "8 bits a channel"
        raise DataError(what, where=where, allowed=allowed, fix=f"save it with {allowed}")
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _too_large(where: str) -> DataError:
    return DataError(
        "has too many pixels", where=where, allowed=f"up to {LARGEST // 10**6} million", fix="make it smaller first"
    )


def _damaged(error: Exception, where: str) -> DataError:
    return DataError(f"is damaged or cut off: {error}", where=where, fix="get the file again")
