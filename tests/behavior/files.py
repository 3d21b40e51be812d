"""Sections that train nothing: evaluation, audit, preparation, files of the released trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import reading
from .material import draw, draw_data, write_openi, write_released, write_reports
from .session import SHARED, Section, Session


def record_evaluate(session: Session) -> Section:
    """Record the scores of a predictions file against an annotation, beside a baseline."""
    given = session.once("reports", write_reports)
    out = session.folder / "evaluated"
    session.call(
        "evaluate", given / "mine.csv", given / "annotation.json", "--dataset", "iu_xray", "--baseline",
        given / "theirs.csv", "--resamples", 200, "--no-meteor", "--json", out / "scores.json", "--html",
        out / "page.html",
    )  # fmt: skip
    # by itself, as it needs Java; null without
    session.call("evaluate", given / "mine.csv", given / "annotation.json", "--resamples", 20, "--json", out / "m.json")
    scores = reading.read_json(out / "scores.json")
    page = out / "page.html"
    structure = {"scores": reading.keys_of(scores), "headings": reading.headings(page)}
    values = {
        "scores": reading.stable(scores),
        "page": reading.numbers(page),
        "meteor": reading.read_json(out / "m.json")["scores"].get("METEOR"),
    }
    return {"structure": structure, "values": values}


def record_audit(session: Session) -> Section:
    """Record the audit of a drawn data folder."""
    data = session.once("data", draw_data)
    out = session.folder / "audited"
    out.mkdir()
    session.call("audit", data, "--json", out / "audit.json", "--html", out / "audit.html")
    found = reading.stable(reading.read_json(out / "audit.json"))
    structure = {"keys": reading.keys_of(found), "headings": reading.headings(out / "audit.html")}
    return {"structure": structure, "values": {"audit": session.without_paths(found)}}


def record_prepare(session: Session) -> Section:
    """Record the preparation of an invented archive, and the hashes of that of Open-i's archive if it is there."""
    raw = session.once("openi", write_openi)
    out = session.folder / "prepared"
    # the miniature lacks most studies of the split, which the exit status does not count
    session.call("prepare", "iu-xray", raw / "NLMCXR_reports.tgz", out, "--reports-only")
    annotation = reading.read_json(out / "annotation.json")
    structure: dict[str, Any] = {
        "files": reading.file_names(out),
        "annotation": reading.keys_of(annotation),
        "audit": reading.keys_of(reading.read_json(out / "audit.json")),
    }
    values: dict[str, Any] = {"annotation": annotation, "hashes": _hashes(session, out)}
    real = SHARED / "data" / "openi" / "NLMCXR_reports.tgz"
    if real.is_file():
        whole = session.folder / "prepared_openi"
        session.call("prepare", "iu-xray", real, whole, "--reports-only", "--no-audit")
        values["openi"] = _hashes(session, whole)
    return {"structure": structure, "values": values}


def _hashes(session: Session, folder: Path) -> dict[str, str]:
    """Hash the files of a prepared folder, all of which are text, without the paths in them; not its audit."""
    names = [name for name in reading.file_names(folder) if not name.startswith("audit.")]
    return {name: reading.digest(session.plain((folder / name).read_text(encoding="utf-8"))) for name in names}


def record_released(session: Session) -> Section:
    """Record a released file's import, its way back and the reports written with it."""
    recorded, folder = SHARED / "golden" / "micro_iu", session.folder / "released"
    if not (recorded / "model_best.pth").is_file():
        return {"structure": {"skipped": "no recorded files in $R2CMN_SHARED/golden"}, "values": {}}
    given = write_released(recorded, folder)
    settings = (
        f"encoder_decoder.num_heads={given['num_heads']}", f"memory.num_queried={given['topk']}",
        f"data.text.max_length={given['max_seq_length']}", "data.text.threshold=3",
        f"optimizer.schedule.step_size={given['step_size']}", "data.images.resize=72", "data.images.size=64",
    )  # fmt: skip
    options = ["--annotation", folder / "annotation.json", "--dataset", given["dataset_name"]]
    options += [word for setting in settings for word in ("--set", setting)]
    source, imported, back = folder / "model_best.pth", folder / "in.ckpt", folder / "back.pth"
    keys = session.call("import-checkpoint", source, imported, *options)
    session.call("export-checkpoint", imported, back)
    # its own trunk is of no size that the command line builds
    session.call("import-checkpoint", recorded / "model_best.pth", folder / "no.ckpt", *options, code=1)
    content, first, last = (reading.checkpoint(path) for path in (imported, source, back))
    views = [folder / "views" / f"{view}.png" for view in range(2)]
    for seed, view in enumerate(views):
        draw(view, seed, size=80)
    structure = {
        "files": reading.file_names(folder),
        "checkpoint": sorted(content),
        "hyper_parameters": reading.keys_of(content["hyper_parameters"]),
        "keys_told": [" ".join(line.split()) for line in keys.splitlines() if line.count("  ") == 1],
        "back_is_equal": reading.digest(first) == reading.digest(last),
    }
    values = {
        "weights": reading.weights(content),
        "back": reading.weights(last),
        "hyper_parameters": reading.stable(content["hyper_parameters"]),
        "report": session.call("generate", imported, *views, "--device", "cpu"),
    }
    return {"structure": structure, "values": values}
