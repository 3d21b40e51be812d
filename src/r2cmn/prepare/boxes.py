"""Adds the boxes of MS-CXR or VinDr-CXR to the `annotation.json` of a data folder, joined by the id of the image."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from r2cmn.data.boxes import exceeds, parse_boxes
from r2cmn.data.index import measure_images
from r2cmn.data.reports import SPLITS, read_annotation
from r2cmn.files import read_json, write_whole
from r2cmn.files.tables import checked_rows, iter_csv

_MSCXR = ("dicom_id", "category_name", "label_text", "x", "y", "w", "h")
_VINDR = ("image_id", "class_name", "x_min", "y_min", "x_max", "y_max")
_SIZE = ("image_width", "image_height")


class ImageBox(NamedTuple):
    """One box of a table.

    Attributes:
        image: id of the image.
        finding: as the table names it.
        phrase: that describes it, "" if the table has none.
        edges: left, top, right and bottom in pixels.
        size: width and height of the image in which these are pixels; None: those of the stored image.
    """

    image: str
    finding: str
    phrase: str
    edges: tuple[float, float, float, float]
    size: tuple[float, float] | None


class Added(NamedTuple):
    """Result of adding boxes.

    Attributes:
        boxes: that were added.
        studies: that have some, by split.
        absent: boxes of images that the data folder does not have.
    """

    boxes: int
    studies: dict[str, int]
    absent: int


def read_mscxr(path: Path) -> list[ImageBox]:
    """Read the CSV or the JSON (of COCO's form) of MS-CXR.

    Raises:
        ValueError: if the file has another form.
    """
    if path.suffix.lower() == ".json":
        return list(_read_coco(path))
    found = []
    for number, row in enumerate(iter_csv(path, (*_MSCXR, *_SIZE)), 2):
        x, y, w, h, *size = (_number(row[key], f"{path}, row {number}", key) for key in (*_MSCXR[3:], *_SIZE))
        found.append(
            ImageBox(row["dicom_id"], row["category_name"], row["label_text"], (x, y, x + w, y + h), (size[0], size[1]))
        )
    return found


def _read_coco(path: Path) -> Iterator[ImageBox]:
    content = read_json(path)
    try:
        images = {image["id"]: image for image in content["images"]}
        names = {category["id"]: category["name"] for category in content["categories"]}
        for each in content["annotations"]:
            image, (x, y, w, h) = images[each["image_id"]], map(float, each["bbox"])
            size = (float(image["width"]), float(image["height"]))
            id = PurePosixPath(image["file_name"]).stem
            yield ImageBox(id, names[each["category_id"]], each["label_text"], (x, y, x + w, y + h), size)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not the JSON of MS-CXR: {type(error).__name__} {error}") from error


def read_vindr(path: Path) -> list[ImageBox]:
    """Read a table of VinDr-CXR; rows without a box, such as those of "No finding", are left out.

    Raises:
        ValueError: if the file has another form.
    """
    found = []
    for number, row in checked_rows(path, _VINDR, _SIZE):
        if isinstance(row, str):
            raise ValueError(f"{path}, row {number}: {row}")
        if not row["x_min"].strip():
            continue
        where = f"{path}, row {number}"
        left, top, right, bottom = (_number(row[key], where, key) for key in _VINDR[2:])
        size = tuple(_number(row[key], where, key) for key in _SIZE) if all(row.get(key) for key in _SIZE) else None
        found.append(ImageBox(row["image_id"], row["class_name"], "", (left, top, right, bottom), size))  # type: ignore[arg-type]
    return found


FORMATS: Mapping[str, Callable[[Path], list[ImageBox]]] = {"mscxr": read_mscxr, "vindr": read_vindr}
"""Readers of tables of boxes, by name."""


def _number(text: str, where: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: {column} is {text!r}, not a number")
    return value


def add_boxes(folder: Path, boxes: list[ImageBox]) -> Added:
    """Add boxes to the annotation of a data folder; its earlier boxes are replaced.

    An image has an id if its file in the folder has this name, without the suffix, or if it is the only image of a
    study with this id. Boxes are scaled to the size of the
    stored image.

    Args:
        folder: with `annotation.json` and `images/`.
        boxes: of any images.

    Raises:
        ValueError: if no box belongs to an image of the folder, or a box is empty or not in its image.
    """
    path = folder / "annotation.json"
    read_annotation(folder, allow_outside=True)  # checks the form
    content = read_json(path)
    places: dict[str, list[tuple[dict[str, Any], int]]] = {}
    for entry in (entry for split in SPLITS for entry in content[split]):
        entry.pop("boxes", None)
        for view, name in enumerate(entry["image_path"]):
            for id in {PurePosixPath(name).stem, *([entry["id"]] if len(entry["image_path"]) == 1 else [])}:
                places.setdefault(id, []).append((entry, view))
    joined = [(box, entry, view) for box in boxes for entry, view in places.get(box.image, [])]
    if not joined:
        raise ValueError(
            f"none of {len(boxes)} boxes belongs to an image of {folder}: their images are named "
            f"{boxes[0].image if boxes else 'nothing'}, those of the folder {next(iter(places), 'nothing')}"
        )
    files = {folder / "images" / entry["image_path"][view] for _, entry, view in joined}
    facts, faults = measure_images(sorted(files))
    if faults:
        raise ValueError(f"the size of an image is needed: {next(iter(faults.values()))}")
    for box, entry, view in joined:
        fact = facts[folder / "images" / entry["image_path"][view]]
        made = _entry(box, view, (fact.width, fact.height))
        if exceeds(made["box"], (fact.width, fact.height)):
            raise ValueError(
                f"a box of '{box.finding}' is at {made['box']} in image {box.image}, which has {fact.width} x "
                f"{fact.height} pixels in {folder}: its table needs image_width and image_height of the original image"
            )
        entry.setdefault("boxes", []).append(made)
    for entry in (entry for split in SPLITS for entry in content[split]):
        parse_boxes(f"study {entry['id']}", entry.get("boxes"), len(entry["image_path"]))
    write_whole(path, json.dumps(content, ensure_ascii=False), path.stat().st_mode & 0o777)
    studies = {split: sum("boxes" in entry for entry in content[split]) for split in SPLITS}
    return Added(len(joined), studies, sum(box.image not in places for box in boxes))


def _entry(box: ImageBox, view: int, stored: tuple[int, int]) -> dict[str, Any]:
    """Return the box as `annotation.json` holds it."""
    width, height = box.size or stored
    scale = (stored[0] / width, stored[1] / height)
    edges = [round(edge * scale[place % 2], 2) for place, edge in enumerate(box.edges)]
    return {"finding": box.finding, "view": view, "box": edges, **({"words": box.phrase} if box.phrase else {})}
