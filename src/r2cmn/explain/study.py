"""Explains the reports of studies with a trained module: `explain_study` and `explain_batch`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from r2cmn.data.images import Study
from r2cmn.encoder_decoder.wording import to_targets
from r2cmn.explain.deletion import deletion_test, occlude
from r2cmn.explain.explanation import ROUTES, Explanation
from r2cmn.explain.forced import force, has_memory_route, memory_routes
from r2cmn.explain.reading import REPLACED, Reading
from r2cmn.explain.rows import Row, name_of, views_of, words_of
from r2cmn.explain.words import find_words
from r2cmn.files.words import check_choice


def explain_study(
    module: Any,
    study: Study,
    report: str | None = None,
    method: str | None = None,
    occlusion: bool | str = True,
    deletion: bool | Sequence[int] = False,
    boxes: Sequence[Sequence[dict[str, Any]]] | None = None,
) -> Explanation:
    """Explain the report of one study: for each word, the patches that it depends on.

    The report is generated as the module generates (of a beam search, the best beam) and read again under teacher
    forcing, unless one is given. The module's mode, weights and outputs stay as they are.

    Args:
        module: a `CMNModule`, such as of `r2cmn.inference.load_module`.
        study: the image files or pictures, one per view.
        report: the report to explain; None: the module generates it.
        method: the only route to compute, attention, memory or occlusion; None: all that the model has.
        occlusion: whether to replace patches, which takes most of the time; "pixels" replaces their pixels, "features"
            (or True) their features.
        deletion: whether to run the deletion test, for the words of `r2cmn.explain.find_words` or for these positions.
        boxes: of each view, see `View`.

    Raises:
        ValueError: if the model has no such route, or an image cannot be read.
    """
    routes = tuple(route for route in ROUTES if occlusion or route != "occlusion") if method is None else (method,)
    reports = None if report is None else [report]
    replace = occlusion if isinstance(occlusion, str) else "features"
    found = explain_batch(module, [study], reports, routes, replace, deletion)[0]
    if method is not None and method not in found.maps:
        raise ValueError(f"the model ({found.model}) has no {method}: method=occlusion explains every model")
    for view, known in zip(found.views, boxes or [], strict=False):
        view.boxes = list(known)
    return found


def explain_batch(
    module: Any,
    studies: Tensor | Sequence[Study],
    reports: Sequence[str] | None = None,
    routes: Sequence[str] = ROUTES,
    replace: str = "features",
    deletion: bool | Sequence[int] = False,
    names: Sequence[str] | None = None,
) -> list[Explanation]:
    """Explain the reports of studies with the same number of views; see `explain_study`.

    Args:
        module: a `CMNModule`.
        studies: lists of image files or pictures; or normalized images (B, I, 3, H, W); or features of the module's
            trunk (B, S, F), as a data module caches them, of the module's number of views.
        reports: to explain; None: the module generates them.
        routes: to compute; those that the model does not have are left out. Without occlusion and deletion, reports
            are decoded once, all together.
        replace: what occlusion replaces of a patch, features or pixels.
        deletion: see `explain_study`.
        names: of the studies; None: those of their files.

    Raises:
        ValueError: if a route is unknown, studies differ in their number of views, or a file is not an image.
    """
    for route in routes:
        check_choice("method", route, ROUTES)
    check_choice("occlusion", replace, REPLACED)
    files: Sequence[Study] = [()] * len(studies) if isinstance(studies, Tensor) else studies
    images = studies if isinstance(studies, Tensor) else module.read(studies)
    names = names or [name_of(study, number) for number, study in enumerate(files, 1)]
    with _evaluating(module):
        images = images.to(module.device, next(module.model.parameters()).dtype)
        reading = Reading(module.model, images, images.shape[1] if images.dim() == 5 else module.num_views)
        tokens, beams = _generate(module, reading) if reports is None else _encode(module, reports)
        rows = _force(module, reading, tokens, routes)
        for row in rows:
            _add_occlusion(row, reading, routes, replace, deletion)
    return [
        row.explain(
            module, name, views_of(images[row.study].cpu(), study, reading), beams[row.study], reports is not None
        )
        for row, name, study in zip(rows, names, files, strict=True)
    ]


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Run in evaluation mode, without gradients and autocast."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad(), torch.autocast(module.device.type, enabled=False):
            yield
    finally:
        module.train(was_training)


def _generate(module: Any, reading: Reading) -> tuple[list[Tensor], list[list[dict[str, Any]]]]:
    """Return the tokens that the module generates, and for each study the reports of its search, the best first."""
    generation, size = module.generation, len(reading.patches)
    number = getattr(generation, "num_beams", 1) if hasattr(generation, "best") else 1
    found = module.sample(reading.source, partial(generation.best, number=number) if number > 1 else generation)
    tokens, scores = found.tokens.unflatten(0, (size, number)), found.scores.unflatten(0, (size, number))
    beams = [
        [
            {"words": words.split(), "score": score}
            for words, score in zip(module.to_words(tokens[study]), scores[study].tolist(), strict=True)
            if score > -np.inf
        ]
        for study in range(size)
    ]
    return [row[: int((row > 0).cumprod(0).sum())] for row in tokens[:, 0]], beams


def _encode(module: Any, reports: Sequence[str]) -> tuple[list[Tensor], list[list[dict[str, Any]]]]:
    """Return the tokens of given reports, which are cut where the tokenizer cuts them, and no beams."""
    ids = [to_targets(module.model.encoder_decoder, report, module.tokenizer)[1:] for report in reports]
    return [torch.tensor([i for i in row if i], dtype=torch.long, device=module.device) for row in ids], [
        [] for _ in ids
    ]


def _force(module: Any, reading: Reading, tokens: Sequence[Tensor], routes: Sequence[str]) -> list[Row]:
    read = pad_sequence([F.pad(row, (1, 0)) for row in tokens], batch_first=True)
    forced = force(module.model, read, reading.source)
    has_memory = "memory" in routes and has_memory_route(module.model.memory)
    memories = memory_routes(module.model, read, reading.patches) if has_memory else None
    rows = []
    for study, ids in enumerate(tokens):
        maps, memory = {}, memories[study].of_tokens(len(ids)) if memories else None
        if "attention" in routes and forced.attention is not None:
            maps["attention"] = forced.attention[study, : len(ids)]
        if memory is not None:
            maps["memory"] = memory.similarity
        words, of_words = words_of(module, ids.tolist())
        rows.append(Row(study, ids, words, of_words, forced.log_p[study, : len(ids)], maps, memory, {}))
    return rows


def _add_occlusion(
    row: Row, reading: Reading, routes: Sequence[str], replace: str, deletion: bool | Sequence[int]
) -> None:
    """Add the map of occlusion and the deletion test of all maps, if they are asked for."""
    if not len(row.tokens):
        if "occlusion" in routes:
            row.maps["occlusion"] = row.log_p.new_zeros(0, reading.num_patches)
        return
    if "occlusion" in routes:
        row.maps["occlusion"] = occlude(reading, row.study, row.tokens, row.log_probs, replace)
    chosen = find_words(row.words) if deletion is True else deletion or []
    tested = sorted({row.of_words[word] for word in chosen})
    if tested:
        means = {
            route: values.flatten(1, -2).mean(1) if values.dim() > 2 else values for route, values in row.maps.items()
        }
        row.deletion.update(deletion_test(reading, row.study, row.tokens, means, tested))
