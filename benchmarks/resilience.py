"""Kills, full disks and damaged files: `python -m benchmarks.resilience [--kills 100] [--seed 0] [--out FILE]`.

A small training is killed at random moments, alone and in sweeps, run on disks that are too small, and resumed from
damaged checkpoints and caches. After each, weights, scores, reports, `metrics.csv` and the names of the checkpoints
must equal those of a run that was not interrupted. The same command continues a campaign that was itself interrupted;
the result is JSON, and `--markdown` prints it as the table of docs/reliability.md.

Disks are tmpfs if this user may mount them, else the size of a file is limited (RLIMIT_FSIZE); the table says which.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import resilience_cases as cases
from r2cmn.files import num_cores, read_object, write_json

GOOD = ("equal", "refused by name")
KINDS = {
    "run": "a run is killed",
    "sweep": "a sweep is killed",
    "disk": "the disk is full",
    "damage": "a checkpoint or cache is damaged",
}


class Campaign:
    """Runs the cases that a result lacks, some at once, and writes the result after each.

    Args:
        out: the JSON file.
        folder: of the trainings.
        seed: of all moments, sizes and damages; another one is another campaign.
    """

    def __init__(self, out: Path, folder: Path, seed: int) -> None:
        self.out, self.folder, self.seed = out, folder, seed
        self.runner = cases.Runner(folder)
        found = (read_object(out) or {}).get("cases", [])
        self.done: list[dict[str, Any]] = [case for case in found if case["seed"] == seed]
        self._lock = threading.Lock()

    def measure(self, with_sweep: bool) -> None:
        """Run without interruptions what the cases are compared with, and time it."""
        whole, cached, sweep = self.folder / "whole", self.folder / "cached", self.folder / "sweep"
        self._finish(whole)  # draws the data
        start = time.monotonic()
        self._finish(self.folder / "timed")
        self.seconds = time.monotonic() - start
        self._finish(cached, *cases.CACHED)
        self.expected, self.expected_cached = cases.ending(whole), cases.ending(cached)
        self.size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
        if with_sweep:
            start = time.monotonic()
            if self.runner.start_sweep(sweep).wait(cases.LIMIT_S) != 0:
                raise SystemExit(f"the sweep that is not interrupted fails: {cases.last_line(sweep)}")
            self.sweep_seconds = time.monotonic() - start
            self.expected_trials = [cases.ending(sweep / name) for name in ("0", "1")]

    def _finish(self, run: Path, *more: str) -> None:
        if self.runner.finish(run, *more) != 0:
            raise SystemExit(f"the run that is not interrupted fails: {cases.last_line(run)}")

    def run(self, kind: str, number: int) -> None:
        """Run one case and add it to the result."""
        dice = random.Random(f"{self.seed} {kind} {number}")
        run, start = self.folder / f"{kind}{number}", time.monotonic()
        try:
            if kind == "run":
                found = cases.kill_run(self.runner, run, dice, self.expected, self.seconds)
            elif kind == "sweep":
                found = cases.kill_sweep(self.runner, run, dice, self.expected_trials, self.sweep_seconds)
            elif kind == "disk":
                found = cases.fill_disk(self.runner, run, dice, self.expected, self.size)
            else:
                what = cases.DAMAGED[number % len(cases.DAMAGED)]
                expected = self.expected_cached if what in cases.DAMAGED[2:] else self.expected
                found = cases.corrupt(self.runner, run, dice, expected, what)
        except Exception as error:  # a fault of the campaign is shown as such, and the other cases run
            found = {"phase": "", "kills": 0, "outcome": f"the campaign failed: {type(error).__name__}: {error}"}
        case = {"kind": kind, "number": number, "seed": self.seed, **found}
        with self._lock:
            self.done.append({**case, "seconds": round(time.monotonic() - start, 1)})
            write_json(self.out, {"cores": num_cores(), "seed": self.seed, "cases": self.done})
            mark = "" if found["outcome"] in GOOD else "  <-- "
            print(f"{len(self.done):4d}  {kind}{number}  {found['phase']}: {found['outcome']}{mark}", flush=True)

    def missing(self, counts: dict[str, int]) -> list[tuple[str, int]]:
        """Return the cases that are asked for and not in the result; a killed run may count twice."""
        known = {(case["kind"], case["number"]) for case in self.done}
        return [(kind, i) for kind, count in counts.items() for i in range(count) if (kind, i) not in known]


def table(result: dict[str, Any]) -> str:
    """Return the result as the table of docs/reliability.md."""
    lines = ["| what happens | cases | kills | end equal | refused by name | otherwise |", "|---|---|---|---|---|---|"]
    for kind, name in KINDS.items():
        found = [case for case in result["cases"] if case["kind"] == kind]
        if not found:
            continue
        if kind == "disk":
            used = Counter(case.get("disk", "?") for case in found)
            name += f" ({', '.join(used)}; {sum(bool(case.get('full')) for case in found)} were too small)"
        outcomes = Counter(case["outcome"] for case in found)
        other = len(found) - sum(outcomes[good] for good in GOOD)
        kills = sum(case["kills"] for case in found)
        lines.append(
            f"| {name} | {len(found)} | {kills} | {outcomes['equal']} | {outcomes['refused by name']} | {other} |"
        )
    phases = Counter(case["phase"] for case in result["cases"] if case["kind"] == "run")
    shares = ", ".join(f"{name} {count}" for name, count in phases.most_common())
    seconds = sum(case["seconds"] for case in result["cases"])
    return "\n".join([*lines, "", f"Kills of a run by moment: {shares}. {seconds / 60:.0f} minutes of runs in all."])


def main() -> None:
    """Run or print a campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="a fifth of them kill a sweep")
    parser.add_argument("--disks", type=int, default=20, help="disks that may be too small")
    parser.add_argument("--damages", type=int, default=20, help="damaged checkpoints and caches")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=num_cores(), help="cases at once")
    parser.add_argument("--out", type=Path, default=Path("resilience.json"))
    parser.add_argument("--markdown", action="store_true", help="print the table of --out and stop")
    options = parser.parse_args()
    if not options.markdown:
        counts = {"run": options.kills - options.kills // 5, "sweep": options.kills // 5}
        counts |= {"disk": options.disks, "damage": options.damages}
        with tempfile.TemporaryDirectory(prefix="r2cmn-resilience-", ignore_cleanup_errors=True) as folder:
            campaign = Campaign(options.out, Path(folder), options.seed)
            missing = campaign.missing(counts)
            if missing:
                campaign.measure(with_sweep=any(kind == "sweep" for kind, _ in missing))
            with ThreadPoolExecutor(options.jobs) as pool:
                list(pool.map(lambda case: campaign.run(*case), missing))
    result = read_object(options.out)
    if result is None:
        raise SystemExit(f"{options.out} holds no result")
    print(table(result))
    bad = [case for case in result["cases"] if case["outcome"] not in GOOD]
    raise SystemExit(f"{len(bad)} cases ended otherwise" if bad else 0)


if __name__ == "__main__":
    main()
