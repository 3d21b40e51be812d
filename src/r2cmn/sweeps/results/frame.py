"""Settings and families: group-bys of a pandas frame with a row a run.

Runs are repetitions of a setting if nothing differs but the seed: the configuration as composed, the data and the code.
A value that follows from another one (`${dim}`) counts once, where it is set. Settings belong to one family, and are
compared in one table or on one curve, if nothing differs but what was ablated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from r2cmn.groups import MODEL
from r2cmn.runs.folder import RunFolder
from r2cmn.sweeps.results.collect import Collection
from r2cmn.sweeps.results.identity import TRAINING, covered, identity
from r2cmn.sweeps.results.implied import telling
from r2cmn.sweeps.results.names import ABSENT, short, shown, sort_key
from r2cmn.sweeps.results.paper import full_key
from r2cmn.sweeps.results.trial import Trial

if TYPE_CHECKING:
    from pandas import DataFrame

NO_MEMORY = "none"
"""The choice of `memory` that makes the paper's BASE."""
_MAX_NAMED = 4


@dataclass(frozen=True)
class Setting:
    """Trials that differ in their seed alone.

    Attributes:
        values: the values, by key, that differ between the settings of its family.
        trials: one a seed, by seed.
    """

    values: Mapping[str, Any]
    trials: tuple[Trial, ...]

    @property
    def label(self) -> str:
        """Its values, `N 512, K 32`; "all trials" for the only setting."""
        if not self.values:
            return "all trials"
        present = {key: value for key, value in self.values.items() if value != ABSENT}
        return (
            ", ".join(f"{short(key)} {shown(value)}" for key, value in present.items())
            or f"no {short(next(iter(self.values)))}"
        )

    @property
    def choices(self) -> dict[str, str]:
        """The choices of its trials, by group."""
        return self.trials[0].choices

    @property
    def num_collapsed(self) -> int:
        """The number of its trials that write (nearly) one fixed text."""
        return sum(trial.is_collapsed for trial in self.trials)

    def collapsed(self, metric: str) -> tuple[bool, ...]:
        """Return whether each of the trials that have a score is collapsed, in the order of `numbers`."""
        return tuple(trial.is_collapsed for trial in self.trials if metric in trial.value)

    def numbers(self, metric: str) -> dict[Any, float]:
        """Return a score by seed, of the trials that have it."""
        return {trial.seed: trial.value[metric] for trial in self.trials if metric in trial.value}


@dataclass(frozen=True)
class Family:
    """Settings that differ only in what was ablated.

    Attributes:
        settings: in the order of their values.
        differs: the values, by key, that differ between the families.
    """

    settings: tuple[Setting, ...]
    differs: Mapping[str, Any]

    @property
    def keys(self) -> list[str]:
        """The keys in which its settings differ."""
        return list(self.settings[0].values)

    @property
    def trials(self) -> list[Trial]:
        """The trials of all its settings."""
        return [trial for setting in self.settings for trial in setting.trials]

    @property
    def data(self) -> str:
        """The choice of `data`; "" if its trials have several or none."""
        choices = {trial.choices.get("data", "") for trial in self.trials}
        return choices.pop() if len(choices) == 1 else ""

    @property
    def label(self) -> str:
        """The first few values that differ from other families; "" for the only family."""
        named = [f"{short(key)} {shown(value)}" for key, value in self.telling.items()]
        return ", ".join(named[:_MAX_NAMED]) + (", ..." if len(named) > _MAX_NAMED else "")

    @property
    def telling(self) -> dict[str, Any]:
        """The values that differ from other families, without the options of a class that is itself another one."""
        classes = tuple(key.removesuffix("_target_") for key in self.differs if key.endswith("._target_"))
        return {
            k: v for k, v in self.differs.items() if k.endswith("._target_") or not k.startswith(classes or ("\0",))
        }


def ablated_keys(found: Collection, by: Sequence[str]) -> list[str]:
    """Return the keys whose values are compared: `by`, else what the sweeps vary, else the memory's.

    Args:
        found: the trials.
        by: keys of the configuration, or short names.

    Raises:
        ValueError: naming a key of `by` that no finished trial has.
    """
    known = {key for trial in found.done for key in identity(trial)} if by else set()
    for name in by:
        if name != "model" and not any(
            covered(key.removeprefix(TRAINING), [_spelled(full_key(name))]) for key in known
        ):
            raise ValueError(f"--by {name}: no finished trial has this key, as `r2cmn train --cfg job` shows it")
    keys = [full_key(name) for name in by] or sorted(found.swept - {"seed"}) or ["memory"]
    return [*keys, *MODEL, "objective"] if "model" in keys else keys


def _spelled(key: str) -> str:
    """Return the key under which `identity` lists a value."""
    return "memory.num_vectors" if key == "num_vectors" else key


def families(trials: Sequence[Trial], ablated: Iterable[str], any_code: bool = False) -> tuple[list[Family], list[str]]:
    """Group finished trials into settings and these into families.

    Args:
        trials: finished ones.
        ablated: keys of the configuration whose values are compared, such as `memory`, with all below them.
        any_code: whether trials of different code are taken as trials of the same code.

    Returns:
        The families, the one with most trials first, and a note for each trial that is found twice.
    """
    import pandas as pd

    notes = _ignored_code(trials) if any_code else []
    values = _identities(trials, any_code)
    below = {_spelled(key) for key in ablated}
    # a test of a checkpoint has its training's values, too; checkpoints that a sweep varies are of any trainings
    below |= {TRAINING + key for key in below} | ({TRAINING.rstrip(".")} if "checkpoint" in below else set())
    rest = values[[key for key in values if not covered(key, below)]]
    runs = pd.DataFrame({"trial": list(trials), "family": _numbers(rest), "setting": _numbers(values)})
    runs["seed"] = pd.Series([trial.seed for trial in trials], dtype=object)
    runs["finished"] = [_finished(trial) for trial in trials]
    runs = _newest(runs, notes)
    groups = [group for _, group in runs.groupby("family", sort=False)]
    groups.sort(key=len, reverse=True)
    differing = _differing(rest.loc[[group.index[0] for group in groups]])
    return [_family(runs, values, row) for runs, (_, row) in zip(groups, differing.iterrows(), strict=True)], notes


def _identities(trials: Sequence[Trial], any_code: bool) -> DataFrame:
    """Return what a repetition of each trial shares with it: a row a trial, a column a key."""
    import pandas as pd

    rows = [identity(trial, any_code) for trial in trials]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    keys = [key for key in keys if not key.startswith(TRAINING) or not _says_the_same(rows, key)]
    return pd.DataFrame([[row.get(key, ABSENT) for key in keys] for row in rows], columns=keys, dtype=object)


def _says_the_same(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Return whether a value of each test's training is that of the test itself."""
    return all(row[key] == row.get(key.removeprefix(TRAINING), ABSENT) for row in rows if key in row)


def _numbers(values: DataFrame) -> Any:
    """Number the distinct rows of a frame; values are equal if they are written the same."""
    import pandas as pd

    return pd.Series([tuple(map(str, row)) for row in values.to_numpy()], dtype=object).factorize()[0]


def _newest(runs: DataFrame, notes: list[str]) -> DataFrame:
    """Keep the newest of several trials with one setting and seed, and add a note for each of the others."""
    for _, same in runs.groupby(["setting", "seed"], sort=False, dropna=False):
        *older, newest = same.sort_values("finished", kind="stable")["trial"]
        notes += [
            f"{each.label} and {newest.label} are the same trial, seed {newest.seed}: the newer one, {newest.label}, "
            "counts"
            for each in older
        ]
    ordered = runs.sort_values("finished", kind="stable")
    return ordered.drop_duplicates(["setting", "seed"], keep="last").sort_index()


def _differing(values: DataFrame) -> DataFrame:
    """Return the columns whose values are not the same in all rows."""
    return values[[key for key in values if len({*map(str, values[key])}) > 1]]


def _family(runs: DataFrame, values: DataFrame, differs: Any) -> Family:
    groups = [group for _, group in runs.groupby("setting", sort=False)]
    table = _differing(values.loc[[group.index[0] for group in groups]])
    choices = [group["trial"].iloc[0].choices for group in groups]
    if len({each.get("model") for each in choices}) > 1 and all("model" in each for each in choices):
        table.insert(0, "model", [each["model"] for each in choices])
    keys = telling(table, choices)
    settings = []
    for group in groups:
        trials = sorted(group["trial"], key=lambda trial: sort_key(trial.seed))
        settings.append(Setting(_named(table.loc[group.index[0], keys], trials[0]), tuple(trials)))
    settings.sort(key=lambda setting: [sort_key(value) for value in setting.values.values()])
    return Family(tuple(settings), _named(differs, runs["trial"].iloc[0]))


def _named(values: Any, trial: Trial) -> dict[str, Any]:
    """Return the values by key; the choice instead of its class."""
    choices = {f"{group}._target_": choice for group, choice in trial.choices.items()}
    return {key: choices.get(key, value) for key, value in values.items()}


def _ignored_code(trials: Sequence[Trial]) -> list[str]:
    codes = Counter(shown(trial.parts.get("code", "unknown")) for trial in trials)
    listed = ", ".join(f"{code} ({number})" for code, number in codes.items())
    return [f"trials of {len(codes)} versions of the code are averaged together: {listed}"] if len(codes) > 1 else []


def _finished(trial: Trial) -> float:
    path = RunFolder(trial.directory).result_json
    return path.stat().st_mtime if path.is_file() else 0.0
