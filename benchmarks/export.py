"""Exported graphs against PyTorch at the paper's size: `python -m benchmarks.export [--cpu-time]`.

A CMN with ResNet-101 and random weights reads one study of two views and writes 60 words, whose end is all but
impossible. Each side has `--threads` threads, 1 if not given.
"""

from __future__ import annotations

import json
import runpy
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks.generation import model_and_images
from benchmarks.measure import Row, alternate, arguments, matmul_peak, ready, show
from r2cmn.data.images import ImageTransform
from r2cmn.data.tokenizer import UNKNOWN, Tokenizer
from r2cmn.generation import BeamSearch, Greedy
from r2cmn.sharing.export import DESCRIPTION, export_onnx, export_torch

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "onnx" / "decode.py"
LENGTH = 60


def session(file: Path, threads: int) -> Any:
    """Return a session of onnxruntime on some cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options)


def main() -> None:
    """Measure the encoder, and the whole call with greedy search and with three beams."""
    parser = arguments("Exported graphs against PyTorch.")
    parser.set_defaults(threads=1)
    options = parser.parse_args()
    ready(options)
    model, images = model_and_images("resnet101", 1, 2)
    module = SimpleNamespace(
        model=model, generation=Greedy(LENGTH), transform=ImageTransform(), num_views=2, license_class="public",
        tokenizer=Tokenizer([UNKNOWN, *(f"word{n}" for n in range(759))], max_length=LENGTH),
    )  # fmt: skip
    decode = runpy.run_path(str(EXAMPLE))["decode"]
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode():
        with torch.inference_mode(False), torch.no_grad():
            files = [*export_onnx(module, Path(temporary)), *export_torch(module, Path(temporary))]
        sizes = {file.name: file.stat().st_size / 1e6 for file in files if file.name != DESCRIPTION}
        about = json.loads((Path(temporary) / DESCRIPTION).read_text())
        encoder, step = (session(Path(temporary) / f"{part}.onnx", options.threads) for part in ("encoder", "step"))

        def theirs(beams: int) -> list[int]:
            state = dict(zip(about["state"], encoder.run(None, {"images": images.numpy()}), strict=True))
            return decode(step, state, about["changed"], LENGTH, beams)

        def ours(beams: int) -> list[int]:
            search = Greedy(LENGTH) if beams == 1 else BeamSearch(beams, LENGTH)
            return search(model.step, model.start(model.encode(images))).tokens[0].tolist()

        encoders = {
            "PyTorch": lambda: model.encode(images),
            "ONNX": lambda: encoder.run(None, {"images": images.numpy()}),
        }
        rows: list[Row] = [{"seconds": "encoder", **alternate(encoders, options.rounds), "same words": ""}]
        for name, beams in (("greedy", 1), ("3 beams", 3)):
            same = np.array_equal(ours(beams), theirs(beams))
            sides = {"PyTorch": lambda b=beams: ours(b), "ONNX": lambda b=beams: theirs(b)}
            rows.append(
                {"seconds": f"images to {LENGTH} words, {name}", **alternate(sides, options.rounds), "same words": same}
            )
    show(rows, options.json, matmul_peak())
    if not options.json:
        print("\n" + ", ".join(f"{name} {size:.1f} MB" for name, size in sizes.items()))


if __name__ == "__main__":
    main()
