"""Timing, memory and tables of the benchmarks."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

Row = dict[str, Any]


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has; `threads` and `seed` are set by `ready`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch, on both sides")
    parser.add_argument("--cpu-time", action="store_true", help="processor seconds: where others use the machine, too")
    parser.add_argument("--rounds", type=int, default=5, help="both sides run so often, in turn; medians are shown")
    return parser


_clock = time.perf_counter


def ready(options: argparse.Namespace) -> None:
    """Set what both sides share."""
    global _clock
    _clock = time.process_time if options.cpu_time else time.perf_counter
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)


def alternate(sides: Mapping[str, Callable[[], Any]], rounds: int, warm: int = 1) -> dict[str, float]:
    """Run the sides in turn, and return the median seconds of each over the rounds after the `warm` ones."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warm + rounds):
        for name, run in sides.items():
            start = _clock()
            run()
            if turn >= warm:
                seconds[name].append(_clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def matmul_peak(size: int = 2048, seconds: float = 2.0) -> float:
    """Return the most floating-point operations a second that square float32 matrices were multiplied with here."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    end, best = time.perf_counter() + seconds, float("inf")
    while time.perf_counter() < end:
        start = _clock()
        a @ b
        best = min(best, _clock() - start)
    return 2 * size**3 / best


def operations(run: Callable[[], Any]) -> int:
    """Count the floating-point operations of matrix products, convolutions and attention; other work counts nothing."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def megabytes(prepare: Callable[..., Callable[[], Any]], *given: Any) -> tuple[float, float]:
    """Measure the resident memory of `prepare(*given)()` in a process of its own: the peak, and how far it rose."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_megabytes, (prepare, torch.get_num_threads(), given))


def _megabytes(prepare: Callable[..., Callable[[], Any]], threads: int, given: tuple[Any, ...]) -> tuple[float, float]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    run = prepare(*given)
    before = _peak()
    run()
    return _peak(), _peak() - before


def _peak() -> float:
    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage says begins, on Linux, with the peak of the process that started this one
        return int(status.read_text(encoding="utf-8").partition("VmHWM:")[2].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS


def show(rows: list[Row], as_json: bool, peak: float) -> None:
    """Print rows with the same keys as a table or as data."""
    where = (
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32 matmul peak {peak / 1e9:.0f} GFLOP/s"
    )
    if as_json:
        print(json.dumps({"machine": where, "matmul_peak": peak, "rows": rows}, indent=1))
        return
    print(where, end="\n\n")
    print(table(rows))


def table(rows: list[Row]) -> str:
    """Return rows as a table in Markdown; keys that the first row has are its columns."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join([*lines, *("| " + " | ".join(_cell(row[key]) for key in rows[0]) + " |" for row in rows)])


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
