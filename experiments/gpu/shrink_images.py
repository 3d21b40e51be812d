"""Copy a data folder with small images, for a machine to which little can be copied.

    python experiments/gpu/shrink_images.py IU_XRAY data/iu_xray_224

Each image becomes a gray JPEG whose shorter side has 224 pixels; smaller images keep their size. annotation.json is
copied with the new names. git ignores the folder `data/`. IU X-Ray's 2,953 studies of two views should take less than
40 MB; the size is printed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image

from r2cmn.data.images import as_rgb, load_image
from r2cmn.files import read_json


def shrink(source: Path, target: Path, side: int, quality: int) -> int:
    """Write an image whose shorter side has at most `side` pixels, and return its bytes."""
    image = as_rgb(load_image(source)).convert("L")
    scale = side / min(image.size)
    if scale < 1:
        width, height = (round(length * scale) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    target.parent.mkdir(parents=True, exist_ok=True)
    image.save(target, "JPEG", quality=quality, optimize=True)
    return target.stat().st_size


def shrink_folder(source: Path, target: Path, side: int = 224, quality: int = 75) -> tuple[int, int]:
    """Write all images of a data folder and its annotation.json; return the number of images and of bytes.

    Raises:
        ValueError: if an image is not below images/, or both folders are the same.
    """
    if source.resolve() == target.resolve():
        raise ValueError(f"{target} is the folder that is read: name another one")
    splits = read_json(source / "annotation.json")
    root, written = (target / "images").resolve(), {}
    for entries in splits.values():
        for entry in entries:
            names = [Path(name) for name in entry["image_path"]]
            entry["image_path"] = [
                name.as_posix() if name.suffix.lower() in (".jpg", ".jpeg") else f"{name.as_posix()}.jpg"
                for name in names
            ]
            for name, new in zip(names, entry["image_path"], strict=True):
                if root not in (root / new).resolve().parents:
                    raise ValueError(f"'{name}' is not below images/")
                if new not in written:
                    written[new] = shrink(source / "images" / name, root / new, side, quality)
    target.joinpath("annotation.json").write_text(json.dumps(splits), encoding="utf-8")
    return len(written), sum(written.values()) + (target / "annotation.json").stat().st_size


def main() -> None:
    """Write the folder and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with annotation.json and images/")
    parser.add_argument("target", type=Path, help="folder to write")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--quality", type=int, default=75, help="of JPEG")
    options = parser.parse_args()
    number, size = shrink_folder(options.source, options.target, options.side, options.quality)
    print(f"{number} images, {size / 1e6:.1f} MB: {options.target}")


if __name__ == "__main__":
    main()
