"""A data folder that is invented here, with one of each thing that an audit finds."""

import json

import numpy as np
import pytest
from PIL import Image


def write_picture(path, seed):
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] / 64
    pixels = sum(generator.uniform(-1, 1) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / width)
                 for cy, cx, width in generator.uniform((0, 0, 0.001), (1, 1, 0.03), (60, 3)))  # fmt: skip
    pixels = 255 * (pixels - pixels.min()) / (pixels.max() - pixels.min())
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def entry(id, report, images, **more):
    return {"id": id, "report": report, "image_path": images, **more}


@pytest.fixture
def write_folder(tmp_path):
    """Return `write_folder(train=..., val=..., test=...)` of entries; draws each image unless it is there."""

    def write(dir=tmp_path / "data", draw=True, **splits):
        dir.mkdir(parents=True, exist_ok=True)
        annotation = {split: splits.get(split, []) for split in ("train", "val", "test")}
        names = dict.fromkeys(name for rows in annotation.values() for row in rows for name in row["image_path"])
        for seed, name in enumerate(names):
            if draw and not (dir / "images" / name).exists():
                write_picture(dir / "images" / name, seed)
        (dir / "annotation.json").write_text(json.dumps(annotation))
        return dir

    return write


@pytest.fixture
def sound(write_folder):
    """Six studies with nothing wrong."""
    reports = ["The lungs are clear.", "The heart is large.", "No effusion is seen, XXXX."]
    rows = [entry(f"s{n}", reports[n % 3], [f"s{n}/0.png", f"s{n}/1.png"], patient=f"p{n}") for n in range(6)]
    return write_folder(train=rows[:3], val=rows[3:4], test=rows[4:])
