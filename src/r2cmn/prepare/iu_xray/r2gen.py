"""Zip of R2Gen's authors, or the folder it unpacks to: annotation.json and images/<id>/0.png."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from r2cmn.data.reports import SPLITS
from r2cmn.prepare.archives import RawError, raw_files


def read_released(path: Path, split: dict[str, str]) -> dict[str, str]:
    """Return the reports by id, after a check of ids and splits.

    Copies of this file with another split exist under the same name; they are refused.

    Args:
        path: the zip, or the folder that holds annotation.json.
        split: train, val or test by id.

    Raises:
        RawError: if there is no valid annotation.json, or it has other ids or another split.
    """
    name, content = _annotation(path)
    try:
        entries = [(key, entry["id"], entry["report"]) for key in SPLITS for entry in content[key]]
    except (KeyError, TypeError):
        raise RawError(f"{name} is not R2Gen's: it lacks a list of id and report for train, val and test") from None
    strange = [f"{id} ({key})" for key, id, _ in entries if split.get(id) != key]
    if strange:
        raise RawError(
            f"{name} is not R2Gen's: {len(strange)} of its {len(entries)} studies are unknown or in another split, "
            f"such as {strange[0]}; prepare from NLMCXR_reports.tgz instead"
        )
    return {id: report for _, id, report in entries}


def _annotation(path: Path) -> tuple[str, Any]:
    files = [(path / "annotation.json").read_bytes()] if path.is_dir() and (path / "annotation.json").is_file() else [
        file.read() for file in raw_files(path) if PurePosixPath(file.name).name == "annotation.json"
    ]  # fmt: skip
    if not files:
        raise RawError(f"{path} holds no annotation.json: is it R2Gen's iu_xray.zip?")
    name = f"annotation.json in {path}"
    try:
        return name, json.loads(files[0])
    except ValueError as error:  # not UTF-8, or not JSON
        raise RawError(f"{name} is not valid JSON: {error}") from None
