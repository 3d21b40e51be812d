"""The studies that `r2cmn explain` explains, one after another, and the files of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2cmn.data.grounding import box_fractions
from r2cmn.data.image_errors import ImageError, no_image
from r2cmn.data.images import load_image
from r2cmn.data.reports import SPLITS
from r2cmn.data.reports import Study as DataStudy
from r2cmn.explain import Explanation, explain_study, figure5, figure6, find_words
from r2cmn.explain.projection import MIN_VECTORS
from r2cmn.explain.rights import Rights
from r2cmn.explain.store import prepare_folder, write_page, write_texts
from r2cmn.files.words import check_choice
from r2cmn.pages.pictures import write_figure
from r2cmn.prepare.collections import COLLECTIONS
from r2cmn.prepare.folder import TERMS

_REPLACED = {
    "features": "the features of a patch are replaced by their mean over its view",
    "pixels": "the pixels of a patch are replaced by their mean over its view",
}
_UNKNOWN_TERMS = "The terms are those of the agreement under which the training data were received."


@dataclass(frozen=True)
class Study:
    """A study to explain.

    Attributes:
        name: as titles show it.
        views: the image files.
        reference: the report of a radiologist, None if unknown.
        data: the study of a data set, None if the files were given.
    """

    name: str
    views: Sequence[Path]
    reference: str | None = None
    data: DataStudy | None = None


def study_of_files(files: Sequence[Path]) -> Study:
    """Return the study whose views are files.

    Raises:
        ImageError: if one is missing.
    """
    for file in files:
        if not file.is_file():
            raise ImageError(no_image(file))
    stems = [file.stem for file in files]
    numbered = all(stem.isdigit() for stem in stems)
    return Study(files[0].absolute().parent.name if numbered else " ".join(stems), files)


def studies_of_data(data: Any, split: str, number: int) -> list[Study]:
    """Return the first studies of a split.

    Raises:
        ValueError: if there is no such split, or it is empty.
    """
    studies = data.studies[check_choice("--split", split, SPLITS)][:number]
    if not studies:
        raise ValueError(f"the split '{split}' of the data has no studies")
    views = data.num_views
    return [Study(study.id, study.images[:views], data.tokenizer.clean(study.report), study) for study in studies]


def rights_of(license_class: str, models: Sequence[Any], data: Any, has_permission: bool) -> Rights:
    """Return what the outputs may show; the terms are those beside the data, or of the models' collection."""
    file = Path(getattr(data, "dir", "")) / TERMS
    if data is not None and file.is_file():
        terms = file.read_text(encoding="utf-8", errors="replace")
    else:
        collections = (COLLECTIONS.get(module.tokenizer.cleaning) for module in models)
        terms = next(
            (each.terms for each in collections if each and each.license_class == license_class), _UNKNOWN_TERMS
        )
    return Rights(license_class, has_permission, terms)


@dataclass
class Job:
    """What is done with each study.

    Attributes:
        models: one module, or two to compare.
        rights: what the outputs may show.
        words: of Figure 5; none: those that name findings.
        report: to explain in place of the generated one, or None.
        occlusion: what replaces a patch, features or pixels; none: nothing.
        deletion: whether maps are tested against random order.
        any_modality: see `r2cmn.data.dicom.read_dicom`.
        notes: what the user should know afterwards.
    """

    models: Sequence[Any]
    rights: Rights
    words: Sequence[str] = ()
    report: str | None = None
    occlusion: str = "features"
    deletion: bool = True
    any_modality: bool = False
    notes: list[str] = field(default_factory=list)

    def run(self, study: Study, folder: Path) -> list[Explanation]:
        """Explain a study with each model, write its files, the page last, and return the explanations.

        Raises:
            ImageError: if an image cannot be read.
            OSError: if a file cannot be written.
        """
        explanations = self._explain(study)
        words = self._words(explanations)
        prepare_folder(folder, self.rights)
        write_texts(folder, explanations, self.rights)
        write_figure(figure5(explanations, words or None), folder, "figure5", self.rights.file_mode)
        for number, (explanation, module) in enumerate(zip(explanations, self.models, strict=True), 1):
            if explanation.words and self._has_plane(explanation):
                name = f"figure6_{number}" if number > 1 else "figure6"
                write_figure(figure6(explanation, module), folder, name, self.rights.file_mode)
        write_page(folder, explanations, self.rights, _position(explanations[0], words))
        return explanations

    def _explain(self, study: Study) -> list[Explanation]:
        for module in self.models:
            if len(study.views) != module.num_views and study.data is None:
                self.notes.append(
                    f"the model was trained on {module.num_views} view(s), this study has {len(study.views)}"
                )
        pictures = [load_image(path, any_modality=self.any_modality) for path in study.views]
        boxes = _boxes(study.data, [picture.size for picture in pictures]) if study.data is not None else None
        occlusion = self.occlusion if self.occlusion != "none" else False
        found = []
        for module in self.models:
            explanation = explain_study(module, pictures, self.report, None, occlusion, self.deletion, boxes)
            explanation.study = study.name
            explanation.reference = study.reference
            if "occlusion" in explanation.maps:
                explanation.notes["occlusion"] = _REPLACED[self.occlusion]
            for view, path in zip(explanation.views, study.views, strict=True):
                view.file = str(path)
                if study.data is None and not path.stem.isdigit():
                    view.name = path.stem
            found.append(explanation)
        return found

    def _has_plane(self, explanation: Explanation) -> bool:
        """Return whether the memory has enough vectors for Figure 6; a note says if not."""
        vectors = explanation.vectors
        if vectors is None:
            return False
        count = vectors["num_vectors"] * (1 if vectors["shared"] else 2)
        if count < MIN_VECTORS:
            self.notes.append(f"no figure 6 of {explanation.model}: {count} memory vectors, fewer than {MIN_VECTORS}")
        return bool(count >= MIN_VECTORS)

    def _words(self, explanations: Sequence[Explanation]) -> list[str]:
        """Return the words of Figure 5 that a report has."""
        wanted = [word.strip() for word in self.words]
        found = [word for word in wanted if any(word in explanation.words for explanation in explanations)]
        if len(found) < len(wanted):
            missing = ", ".join(word for word in wanted if word not in found)
            self.notes.append(f"no report of {explanations[0].study} has {missing}")
        return found


def _position(explanation: Explanation, words: Sequence[str]) -> int:
    """Return the position of the first of some words, else of the first word of a finding."""
    chosen = [at for at, word in enumerate(explanation.words) if word in words]
    return next(iter(chosen or find_words(explanation.words)), 0)


def _boxes(study: DataStudy, sizes: Sequence[tuple[int, int]]) -> list[list[dict[str, Any]]]:
    """Return the boxes of each view as fractions of its width and height."""
    boxes: list[list[dict[str, Any]]] = [[] for _ in sizes]
    for box in study.boxes:
        if box.view < len(sizes):
            name = f"{box.place} {box.finding}".strip() if box.place not in box.finding else box.finding
            boxes[box.view].append({"finding": name, "box": list(box_fractions(study, box, sizes[box.view]))})
    return boxes
