"""What the other benchmarks measure, on a GPU: `python -m benchmarks.gpu [--dir PATH] [--only TABLE ...] [--out JSON]`.

Tables: the response of the memory by masked product and by gathered rows, a training step and a batch of reports
against the released arithmetic in float32, TF32 and bfloat16, a compiled step, and images a second of the data path.
Seconds are medians between CUDA events. Peaks are those of torch's allocator, of one side at a time. Each table is
printed, and written to `--out`, as soon as it is complete. `--device cpu --tiny` only shows that everything runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from benchmarks import generation, memory, training
from benchmarks.measure import Row, alternate, operations, table
from benchmarks.released import Released
from r2cmn.backbone import Backbone
from r2cmn.data.datamodule import ReportDataModule
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.memory import CrossModalMemory
from r2cmn.model import CMN
from r2cmn.objectives import CrossEntropy
from r2cmn.phantom.make import PhantomOptions, make_phantom
from r2cmn.types import Batch

PRECISIONS = ("float32", "TF32", "bf16")


@dataclass(frozen=True)
class Sizes:
    """Sizes of everything that is measured; the defaults are the paper's on IU X-Ray."""

    trunk: str = "resnet101"
    pixels: int = 224
    batch: int = 16
    views: int = 2
    length: int = 60
    dim: int = 512
    num_vectors: int = 2048
    num_queried: int = 32
    all_queried: tuple[int, ...] = (1, 32, 512)  # of the memory by itself
    layers: int = 3
    vocabulary: int = generation.VOCABULARY
    matmul: int = 8192
    phantoms: tuple[int, int] = (300, 256)  # studies, pixels
    workers: tuple[int, ...] = (0, 2, 8)


TINY = Sizes(
    trunk="test_resnet", pixels=32, batch=2, views=1, length=5, dim=32, num_vectors=64, num_queried=4,
    all_queried=(1, 4), layers=1, vocabulary=40, matmul=64, phantoms=(10, 64), workers=(0,),
)  # fmt: skip


class Machine:
    """The device, its clock, its peaks and its precisions.

    Args:
        device: cuda or cpu.
        rounds: so often is each side run, after two runs that are not counted.
    """

    def __init__(self, device: str, rounds: int) -> None:
        self.device, self.rounds = torch.device(device), rounds
        self.is_gpu = self.device.type == "cuda"

    @property
    def name(self) -> str:
        """The device's name."""
        return torch.cuda.get_device_name(self.device) if self.is_gpu else "cpu"

    def make(self, prepare: Callable[..., Any], *given: Any) -> Any:
        """Build tensors and modules on the device, always the same."""
        torch.manual_seed(0)
        with self.device:
            return prepare(*given)

    def measure(self, run: Callable[[], Any]) -> Row:
        """Return the median seconds of a run, and the peak of the allocator in MB."""
        if not self.is_gpu:
            return {"s": alternate({"run": run}, self.rounds)["run"], "peak MB": "-"}
        for _ in range(2):
            run()
        torch.cuda.reset_peak_memory_stats(self.device)
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(self.rounds)]
        for start, end in events:
            start.record()
            run()
            end.record()
        self.wait()
        seconds = statistics.median(start.elapsed_time(end) for start, end in events) / 1e3
        return {"s": seconds, "peak MB": torch.cuda.max_memory_allocated(self.device) / 1e6}

    def wait(self) -> None:
        """Wait for the device."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def free(self) -> None:
        """Give the memory of a side back before the next one is built."""
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()

    def use(self, precision: str) -> None:
        """Allow TF32 in products and convolutions, or not; bfloat16 is asked for by autocast, where a side runs."""
        torch.set_float32_matmul_precision("high" if precision == "TF32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "TF32"


def build_model(sizes: Sizes) -> CMN:
    """Build a CMN with random weights."""
    backbone = Backbone(sizes.trunk, sizes.dim, pretrained=False)
    cross_modal = CrossModalMemory(sizes.dim, sizes.num_vectors, sizes.num_queried)
    return CMN(backbone, cross_modal, Transformer(sizes.vocabulary, sizes.dim, sizes.layers, 8, sizes.dim))


def build_batch(sizes: Sizes) -> Batch:
    """Draw images and reports that fill their length."""
    images = torch.randn(sizes.batch, sizes.views, 3, sizes.pixels, sizes.pixels)
    tokens = torch.randint(1, sizes.vocabulary, (sizes.batch, sizes.length))
    tokens[:, 0] = 0
    return Batch(torch.arange(sizes.batch), images, tokens)


def matmuls(machine: Machine, sizes: Sizes) -> list[Row]:
    """Speed of a square product, to which that of a training step compares."""
    rows: list[Row] = []
    for precision in PRECISIONS:
        machine.use(precision)
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (machine.make(torch.randn, sizes.matmul, sizes.matmul).to(kind) for _ in range(2))
        seconds = machine.measure(lambda a=a, b=b: a @ b)["s"]
        rows.append({"matmul": precision, "TFLOP/s": 2 * sizes.matmul**3 / seconds / 1e12})
    return rows


def responses(machine: Machine, sizes: Sizes) -> list[Row]:
    """The memory forward and backward: each formulation, and the released one, at 49 features a view."""
    rows: list[Row] = []
    sides = (memory.ours, memory.dense, memory.embedding_bag, memory.sparse, memory.gather, memory.released)
    for precision in PRECISIONS:
        machine.use(precision)
        for num_queried in sizes.all_queried:
            shape = (sizes.batch, 49, sizes.views, sizes.num_vectors, num_queried)
            for side in sides:
                name = "released" if side is memory.released else side.__name__
                run = machine.make(memory.prepare, side, shape)
                with torch.autocast(machine.device.type, torch.bfloat16, enabled=precision == "bf16"):
                    row = machine.measure(run)
                rows.append({"memory": name, "precision": precision, "K": num_queried, **row})
                del run
                machine.free()
    return rows


def steps(machine: Machine, sizes: Sizes) -> list[Row]:
    """A training step: forward, backward and optimizer."""
    check_equal(machine, sizes)
    sides = [(side, precision) for precision in PRECISIONS for side in ("released", "ours")]
    return [_step(machine, sizes, *side) for side in sides]


def compiled(machine: Machine, sizes: Sizes) -> list[Row]:
    """A training step whose model is compiled, as `compile=true` does it; the first call is shown apart."""
    return [_step(machine, sizes, "ours, compiled", "bf16")]


def _step(machine: Machine, sizes: Sizes, side: str, precision: str) -> Row:
    machine.use(precision)
    model = machine.make(build_model, sizes).train()
    if "compiled" in side:  # without a GPU the graphs are taken, and no code is made of them
        torch.compiler.reset()
        model.compile(backend="inductor" if machine.is_gpu else "eager")
    model.backbone.recompute = not side.startswith("released")
    run = machine.make(training.step, f"{side}, {precision}", model, machine.make(build_batch, sizes))
    start = time.perf_counter()
    run()
    machine.wait()
    row: Row = {"step": side, "precision": precision, "first s": time.perf_counter() - start, **machine.measure(run)}
    row["images/s"] = sizes.batch * sizes.views / row["s"]
    if "compiled" not in side:
        row["TFLOP/s"] = operations(run) / row["s"] / 1e12
    del model, run
    machine.free()
    return row


def check_equal(machine: Machine, sizes: Sizes) -> None:
    """Both sides must compute the same loss before their times are compared."""
    machine.use("float32")
    model, batch = machine.make(build_model, sizes).eval(), machine.make(build_batch, sizes)
    with torch.no_grad():
        ours, theirs = CrossEntropy()(SimpleNamespace(model=model), batch), Released(model).loss(batch)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def reports(machine: Machine, sizes: Sizes) -> list[Row]:
    """A batch of reports by beam search, images to words; no report ends before its last word.

    `same` is the share of reports that equal those of the released side in float32: sums in another order may decide
    between two nearly equal beams.
    """
    model, images = machine.make(build_model, sizes).eval(), machine.make(build_batch, sizes).images
    with torch.no_grad():
        model.encoder_decoder.output.bias[0] = generation.NEVER  # type: ignore[index,union-attr]
    rows: list[Row] = []
    expected = None
    for precision in PRECISIONS:
        machine.use(precision)
        for side in ("released", "ours"):
            if (side, precision) == ("released", "bf16"):
                continue  # its search runs without autocast
            run = generation.call(f"{side}, {precision}", model, images, 3, sizes.length)
            words = run()
            expected = words if expected is None else expected
            row: Row = {"beam 3": side, "precision": precision, **machine.measure(run)}
            same = (words == expected).all(1).double().mean().item()
            rows.append(row | {"reports/s": sizes.batch / row["s"], "same": same})
            machine.free()
    return rows


def reading(machine: Machine, sizes: Sizes, dir: Path | None) -> list[Row]:
    """Images a second from the training loader to the device, one epoch each, workers' start included."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, R2CMN_CACHE=f"{folder}/cache"):
        source = dir or make_phantom(PhantomOptions(sizes.phantoms[0], 0, sizes.phantoms[1]), Path(folder))
        for cache in ("none", "disk"):
            for workers in sizes.workers:
                data = ReportDataModule(source, num_workers=workers, cache=cache, batch_size=sizes.batch)
                loader = data.train_dataloader()  # has decoded the images if they are cached
                start, count = time.perf_counter(), 0
                for batch in loader:
                    images = batch.images.to(machine.device, non_blocking=True)
                    count += images.shape[0] * images.shape[1]
                machine.wait()
                rate = count / (time.perf_counter() - start)
                rows.append({"data.cache": cache, "data.num_workers": workers, "images/s": rate})
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables: dict[str, Callable[..., list[Row]]] = {
        "matmul": matmuls, "memory": responses, "training": steps, "generation": reports, "data": reading,
        "compile": compiled,
    }  # fmt: skip
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: shows that everything runs, measures nothing")
    parser.add_argument("--only", nargs="+", choices=tables, default=list(tables), help="some of the tables")
    parser.add_argument("--dir", type=Path, help="data folder for the data path; drawn phantoms if there is none")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path, help="JSON file, written after each table")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.exit(1, "benchmarks.gpu needs a GPU: without one, --device cpu --tiny shows that it runs.\n")
    if options.device == "cpu" and not options.tiny:
        parser.exit(1, "On a CPU benchmarks.gpu needs --tiny: benchmarks.training and others measure CPUs.\n")
    sizes, machine = TINY if options.tiny else Sizes(), Machine(options.device, options.rounds)
    result: dict[str, Any] = {"device": machine.name, "torch": torch.__version__, "tiny": options.tiny, "tables": {}}
    print(f"{machine.name}, torch {torch.__version__}", flush=True)
    for name in options.only:
        given = (options.dir,) if name == "data" else ()
        result["tables"][name] = rows = tables[name](machine, sizes, *given)
        print(f"\n{table(rows)}", flush=True)
        if options.out:
            options.out.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
