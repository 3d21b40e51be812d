"""The parts of a preparation of MIMIC-CXR put together: annotation, manifest, record and terms."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from r2cmn.prepare.archives import RawError
from r2cmn.prepare.collections import MIMIC_CXR
from r2cmn.prepare.mimic_cxr.summary import MIMICSummary
from r2cmn.prepare.parts import Part
from r2cmn.prepare.private import write_file
from r2cmn.prepare.write import ManifestRow


def finish(out: Path, parts: Sequence[Part]) -> MIMICSummary:
    """Write everything about the images, and `annotation.json` last.

    Raises:
        RawError: where no entry is left, saying why.
        OSError: where the disk is full or the folder cannot be written.
    """
    entries = sorted((entry for part in parts for entry in part.entries), key=lambda entry: entry[0])
    if not entries:
        raise RawError(f"nothing is left for {out}: {_first_reasons(parts)}")
    annotation: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    for _, entry, _ in entries:
        annotation[entry["split"]].append({key: value for key, value in entry.items() if key != "labels_by"})
    summary = _summary(out, parts, [entry for _, entry, _ in entries])
    write_file(out / "LICENSE.txt", MIMIC_CXR.terms.encode())
    write_file(out / "manifest.csv", _table(row for _, _, rows in entries for row in rows))
    write_file(out / "prepare.json", json.dumps(summary.record(), indent=1).encode())
    write_file(out / "annotation.json", json.dumps(annotation, ensure_ascii=False).encode())
    return summary


def _summary(out: Path, parts: Sequence[Part], entries: Sequence[dict[str, Any]]) -> MIMICSummary:
    counts: Counter[str] = Counter()
    for part in parts:
        for name, number in part.counts.items():
            counts[name] += number
    first = parts[0]
    options = first.origin["choices"]
    labels = Counter(entry.get("labels_by", "none") for entry in entries)
    notes = list(first.notes)
    if labels["none"] and len(labels) > 1:
        notes.append(f"{labels['none']:,} entries have no labels in the official tables")
    summary = MIMICSummary(
        out=out,
        source={**first.source, "version": first.origin["version"], "tables": first.origin["tables"]},
        options=options,
        counts=dict(sorted(counts.items(), key=lambda item: item[0].startswith("kept"))),
        splits={split: sum(entry["split"] == split for entry in entries) for split in ("train", "val", "test")},
        test_studies=len({entry["study_id"] for entry in entries if entry["split"] == "test"}),
        labels=dict(labels),
        notes=(),
        left_out={name: reason for part in parts for name, reason in part.left_out.items()},
    )
    differing = [count for count in summary.compared() if count.here != count.published]
    if differing:
        notes.append(f"{len(differing)} of {len(summary.compared())} counts differ from the published ones")
    return MIMICSummary(**{**vars(summary), "notes": tuple(notes)})


def _first_reasons(parts: Sequence[Part]) -> str:
    reasons = [f"{name} {reason}" for part in parts for name, reason in part.left_out.items()]
    losses = [f"{-number} studies: {name.split('|')[0]}" for part in parts for name, number in part.counts.items()
              if number < 0 and name.endswith("|studies")]  # fmt: skip
    return "; ".join([*losses, *reasons][:5])


def _table(rows: Iterable[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(ManifestRow.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
