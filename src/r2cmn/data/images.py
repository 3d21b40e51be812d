"""Reads image files and prepares the tensors for the backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import PIL
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from r2cmn.data.dicom import SUFFIXES as DICOM_SUFFIXES
from r2cmn.data.dicom import is_dicom, read_dicom
from r2cmn.data.image_errors import ImageError, check_size, read_fault

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", *DICOM_SUFFIXES)
"""Suffixes of the files in which studies are distributed."""

Study = Sequence[str | Path | Image.Image]
"""The views of one study, as image files or pictures."""

_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_FULL_RANGE = 65_535
_PHOTOMETRIC = 262  # TIFF's tag PhotometricInterpretation
_TRANSPARENT_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
IMAGENET_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def load_image(path: str | Path, stream: BinaryIO | None = None, any_modality: bool = False) -> Image.Image:
    """Decode an image to 8-bit RGB.

    16-bit images are scaled by their full range, 65,535 to 255. Transparent pixels are blended with black, the color
    of air in an X-ray. Palettes are resolved. The EXIF orientation is ignored, as in the released code. DICOM files
    are decoded by `r2cmn.data.dicom.read_dicom`.

    Args:
        path: the file; if `stream` is given, only its name in error messages.
        stream: a file object to read instead, from its beginning.
        any_modality: see `read_dicom`.

    Raises:
        ImageError: if the file is missing, truncated, empty, not an image, too large or has an unknown value range.
    """
    path = Path(path)
    if stream is None and path.exists() and not path.is_file():
        raise ImageError(f"{path} cannot be read whole: it is a folder, a pipe or a device")
    if path.suffix.lower() in DICOM_SUFFIXES:
        return read_dicom(path, stream, any_modality=any_modality).image.convert("RGB")
    try:
        with Image.open(stream if stream is not None else path) as image:
            check_size(path, *image.size)
            image.load()
            return as_rgb(image)
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        return _unidentified(path, stream, any_modality)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        raise ImageError(read_fault(path, error)) from None


def is_image(path: Path) -> bool:
    """Whether a file has the suffix of an image, or is a DICOM file whatever its name."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(132))
    except OSError:
        return False


def _unidentified(path: Path, stream: BinaryIO | None, any_modality: bool) -> Image.Image:
    """Read a DICOM file without its suffix; raise for any other file."""
    if stream is not None:
        stream.seek(0)
        head = stream.read(132)
        stream.seek(0)
    else:
        with path.open("rb") as file:
            head = file.read(132)
    if is_dicom(head):
        return read_dicom(path, stream, any_modality=any_modality).image.convert("RGB")
    raise ImageError(f"{path} {'is not an image of a known format' if head else 'is empty'}")


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert a Pillow image to 8-bit RGB, as `load_image` does.

    Raises:
        ImageError: if the value range is unknown.
    """
    if image.mode in _SIXTEEN_BIT_MODES:
        return _sixteen_to_eight_bits(image).convert("RGB")
    if image.mode == "F":
        raise ImageError(f"{_name(image)} holds floating-point values of unknown range: save it with 8 or 16 bits")
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        pixels = image.convert("RGBA")
        black = Image.new("RGBA", pixels.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, pixels).convert("RGB")
    return image.convert("RGB")


def _name(image: Image.Image) -> str:
    return str(getattr(image, "filename", "") or "the picture")


def _sixteen_to_eight_bits(image: Image.Image) -> Image.Image:
    # Pillow clips at 255, which turns a 16-bit X-ray white.
    values = v2.functional.pil_to_tensor(image.convert("I")).to(torch.int64)
    if values.min() < 0 or values.max() > _FULL_RANGE:
        raise ImageError(f"{_name(image)} holds values outside 0 to 65,535: save it with 8 or 16 bits")
    largest = int(values.max())
    if 0 < largest < 2**14:
        raise ImageError(
            f"{_name(image)} has 16 bits, but no value above {largest:,}: it holds data of at most "
            f"{largest.bit_length()} bits, which would be dark; scale the values to 65,535, or give the DICOM file"
        )
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # white is zero; Pillow inverts such a TIFF of 8 bits alone
        values = _FULL_RANGE - values
    return v2.functional.to_pil_image(((values + 128) // 257).to(torch.uint8))


def normalize(pixels: Tensor, out: Tensor | None = None) -> Tensor:
    """Map pixels (1 or 3, H, W) uint8 to (3, H, W) float32 with ImageNet's mean and standard deviation.

    Args:
        pixels: one channel is used for three equal ones.
        out: output tensor (3, H, W) float32.
    """
    scaled = v2.functional.to_dtype(pixels, torch.float32, scale=True)
    return torch.sub(scaled, IMAGENET_MEAN, out=out).div_(IMAGENET_STD)


def denormalize(images: Tensor) -> Tensor:
    """Return the pixels (..., 3, H, W) uint8 of normalized images."""
    mean, std = IMAGENET_MEAN.to(images), IMAGENET_STD.to(images)
    return (255 * (images * std + mean)).round().clamp(0, 255).to(torch.uint8)


class Preparation(NamedTuple):
    """The two steps that prepare the images of a split; the result of the first can be cached.

    Attributes:
        resize: image -> (3, h, w) uint8, deterministic.
        cut: (C, h, w) -> (C, size, size) uint8, random in training.
        name: describes everything that `resize` depends on besides the image.
    """

    resize: Callable[[Image.Image], Tensor]
    cut: Callable[[Tensor], Tensor]
    name: str


class ImageTransform:
    """Resizes, crops and normalizes images as the released code does.

    Args:
        resize: pixels of the short side before a random crop; at least `size`.
        size: height and width in pixels of the backbone's input.
        horizontal_flip: mirror half of the training images. Off by default, because a mirrored X-ray contradicts a
            report that says left or right; the released code has it on.
        random_crop: crop training images at random; if False, they are resized to a square as in evaluation.

    Raises:
        ValueError: if the crop is larger than the image.
    """

    def __init__(self, resize: int = 256, size: int = 224, horizontal_flip: bool = False, random_crop: bool = True):
        if not 0 < size <= resize:
            raise ValueError(
                f"images.size is {size} and images.resize {resize}: a crop is at most as large as the image"
            )
        self.resize = resize
        self.size = size
        self.horizontal_flip = horizontal_flip
        self.random_crop = random_crop
        self._crop = v2.RandomCrop(size)

    @property
    def is_random(self) -> bool:
        """Whether training images are cropped or mirrored at random."""
        return self.horizontal_flip or self.random_crop

    def preparation(self, training: bool) -> Preparation:
        """Return the steps before `normalize` for training or for evaluation."""
        resize = self._resize_short_side if training and self.random_crop else self._resize_to_square
        name = f"short side {self.resize}" if training and self.random_crop else f"square {self.size}"
        return Preparation(resize, self._cut if training else _whole, f"{name}, Pillow {PIL.__version__}")

    def train(self, image: Image.Image) -> Tensor:
        """Prepare a training image, with random numbers of torch's generator: (3, size, size)."""
        return self._apply(self.preparation(training=True), image)

    def evaluation(self, image: Image.Image) -> Tensor:
        """Resize to a square, whatever the aspect ratio: (3, size, size)."""
        return self._apply(self.preparation(training=False), image)

    def to_dict(self) -> dict[str, int | bool]:
        """Return the arguments of the constructor as plain values."""
        names = ("resize", "size", "horizontal_flip", "random_crop")
        return {name: getattr(self, name) for name in names}

    @staticmethod
    def _apply(preparation: Preparation, image: Image.Image) -> Tensor:
        return normalize(preparation.cut(preparation.resize(image)))

    def _resize_short_side(self, image: Image.Image) -> Tensor:
        check_size(_name(image), *(side * self.resize // min(image.size) for side in image.size))
        return v2.functional.pil_to_tensor(v2.functional.resize(image, [self.resize]))

    def _resize_to_square(self, image: Image.Image) -> Tensor:
        return v2.functional.pil_to_tensor(v2.functional.resize(image, [self.size, self.size]))

    def _cut(self, pixels: Tensor) -> Tensor:
        if self.random_crop:
            # same random numbers as v2.RandomCrop, but a slice takes a tenth of its time
            place = self._crop.make_params([pixels])
            top, left = place["top"], place["left"]
            pixels = pixels[:, top : top + self.size, left : left + self.size]
        if self.horizontal_flip and torch.rand(1) < 0.5:
            pixels = pixels.flip(-1)
        return pixels


def _whole(pixels: Tensor) -> Tensor:
    return pixels


def read_studies(studies: Sequence[Study], transform: ImageTransform) -> Tensor:
    """Read and preprocess studies as in evaluation: (B, I, 3, H, W).

    Args:
        studies: each a list of image files or pictures, one per view.
        transform: the preprocessing.

    Raises:
        ValueError: if studies differ in their number of views, or a file is not an image.
    """
    single = str | Path | Image.Image
    if isinstance(studies, single) or not all(isinstance(study, list | tuple) for study in studies):
        raise ValueError("studies are lists of views, one list per study: [['frontal.png', 'lateral.png'], ...]")
    views = {len(study) for study in studies}
    if len(views) != 1 or 0 in views:
        raise ValueError(f"the studies of one batch must have the same number of views, not {sorted(views)}")
    pictures = [[as_rgb(v) if isinstance(v, Image.Image) else load_image(v) for v in study] for study in studies]
    return torch.stack([torch.stack([transform.evaluation(view) for view in study]) for study in pictures])
