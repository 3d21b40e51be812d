"""Tags of reports, which CoAtt (Jing et al., 2018) predicts: from rules, from labels or from a file."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from r2cmn.data.annotations.sentences import split_sentences
from r2cmn.data.observations import OBSERVATIONS
from r2cmn.files import expand_user, read_json
from r2cmn.files.tables import iter_csv
from r2cmn.files.yaml import read_yaml

if TYPE_CHECKING:
    from r2cmn.data.reports import Study
    from r2cmn.data.tokenizer import Tokenizer

NORMAL = "normal"
OTHER = "other"
NOT_INDEXED = "no indexing"
"""Open-i's heading of a study that nobody has indexed."""
_FOLLOWS_WITHIN = 40


class _Rules(NamedTuple):
    tags: dict[str, re.Pattern[str]]
    negation: re.Pattern[str]
    terminator: re.Pattern[str]
    follows: re.Pattern[str]


@functools.cache
def _rules() -> _Rules:
    content = read_yaml(Path(__file__).with_name("tags.yaml"))
    patterns = {name: re.compile(rf"\b(?:{pattern})") for name, pattern in content["tags"].items()}
    ends = ("|".join(content[name]) for name in ("negations", "terminators"))
    return _Rules(patterns, *(re.compile(rf"\b(?:{words})\b") for words in (*ends, content["follows"])))


def rule_tags() -> list[str]:
    """Return the names of all tags that the rules give to a report: 38 findings and normal."""
    return [*_rules().tags, NORMAL]


@functools.lru_cache(maxsize=65_536)  # most sentences repeat
def find_tags(sentence: str) -> tuple[str, ...]:
    """Return the findings in a sentence of a cleaned report.

    A tag holds if some match of its pattern is not negated: there is no negation between the last terminator ("but",
    "however", ...) and the match, and no "is not seen" within 40 characters after it.
    """
    rules = _rules()
    return tuple(
        name
        for name, pattern in rules.tags.items()
        if any(not _is_negated(sentence, match, rules) for match in pattern.finditer(sentence))
    )


def _is_negated(sentence: str, match: re.Match[str], rules: _Rules) -> bool:
    before, after = sentence[: match.start()], sentence[match.end() : match.end() + _FOLLOWS_WITHIN]
    scope = rules.terminator.split(before)[-1]
    return bool(rules.negation.search(scope) or rules.follows.search(after))


def tag_report(sentences: Iterable[str]) -> list[str]:
    """Return the tags of a report in the order of `rule_tags`; without a finding it is normal."""
    found = {tag for sentence in sentences for tag in find_tags(sentence)}
    return [tag for tag in rule_tags() if tag in found] or [NORMAL]


def read_tags(path: Path) -> dict[str, list[str] | None]:
    """Read the tags of studies from a file; None for a study that is not labeled.

    A tag is what precedes the first "/", without qualifiers such as "/lung/left". A study is not labeled if its tags
    are empty or null, or hold "No Indexing".

    Args:
        path: a CSV with the columns `id` and `tags`, which are separated by ";"; or a JSON object that maps ids to such
            texts or to lists of tags, or to objects with a list `major`, as `mesh.json` of `r2cmn prepare iu-xray`.

    Raises:
        ValueError: naming the file, if it cannot be read or a study has tags of another form.
    """
    if path.suffix != ".json":
        return {row["id"]: _tags(path, row["id"], row["tags"]) for row in iter_csv(path, ("id", "tags"))}
    content = read_json(path, unique_keys=True)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no object that maps ids of studies to their tags")
    return {id: _tags(path, id, tags) for id, tags in content.items()}


def _tags(path: Path, id: str, tags: Any) -> list[str] | None:
    if isinstance(tags, dict):
        tags = tags.get("major", 0)
    if isinstance(tags, str):
        tags = tags.split(";")
    if tags is None:
        return None
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError(f"{path} has tags of study {id} that are neither a text nor a list of texts")
    heads = sorted({tag.partition("/")[0].strip() for tag in tags} - {""})
    return None if NOT_INDEXED in map(str.lower, heads) else heads or None


def annotate_tags(
    studies: Sequence[Study], tokenizer: Tokenizer, source: str = "rules", least: int = 3
) -> dict[str, Any]:
    """Tag the training studies.

    Args:
        studies: of the training split.
        tokenizer: cleans the reports.
        source: "rules", "labels" (the positive ones of the 14 observations) or a file of `read_tags`.
        least: minimum number of studies with a tag of a file; rarer tags become "other".

    Returns:
        Plain data: `tags`, the names, and `of_studies`, the positions of the names that each study has; None for a
        study that is not labeled. Without studies, before data are read, the names are all that the source has.

    Raises:
        ValueError: if the file cannot be read, or no study has a tag.
    """
    if source == "rules":
        names = rule_tags()
        of_studies = [tag_report(split_sentences(tokenizer.clean(study.report))) for study in studies]
        return _positions(names, of_studies)
    if source == "labels":
        return _positions(list(OBSERVATIONS), _tagged("labels", [_positive(study) for study in studies]))
    given = read_tags(expand_user(source))
    if not studies:
        return _positions(sorted({tag for tags in given.values() for tag in tags or ()}), [])
    tagged = _tagged(source, [given.get(study.id) for study in studies])
    counts = Counter(tag for tags in tagged if tags for tag in tags)
    names = sorted(tag for tag, count in counts.items() if count >= least and tag != OTHER)
    kept = set(names)
    if len(kept) < len(counts):
        names.append(OTHER)
        tagged = [tags and [tag if tag in kept else OTHER for tag in tags] for tags in tagged]
    return _positions(names, tagged)


def _positive(study: Study) -> list[str] | None:
    return [name for name, value in zip(OBSERVATIONS, study.labels or (), strict=False) if value == 1] or None


def _tagged(source: str, of_studies: list[list[str] | None]) -> list[list[str] | None]:
    if of_studies and not any(of_studies):
        raise ValueError(f"none of the {len(of_studies):,} training studies has a tag: the source of tags is {source}")
    return of_studies


def _positions(names: list[str], of_studies: Sequence[list[str] | None]) -> dict[str, Any]:
    position = {name: number for number, name in enumerate(names)}
    return {
        "tags": names,
        "of_studies": [None if tags is None else sorted({position[tag] for tag in tags}) for tags in of_studies],
    }
