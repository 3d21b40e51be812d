"""Writes the report of a study with onnxruntime, numpy and Pillow alone: r2cmn export RUN --onnx FOLDER comes before.

python examples/onnx/decode.py FOLDER frontal.png lateral.png --beams 3
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


def read(paths, size, mean, std):
    """Return images (1, I, 3, H, W)."""
    pictures = [Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR) for path in paths]
    pixels = np.stack([np.asarray(picture, np.float32) for picture in pictures]) / 255
    return ((pixels - np.float32(mean)) / np.float32(std)).transpose(0, 3, 1, 2)[None]


def decode(step, state, changed, max_length, num_beams):
    """Search as r2cmn does; one beam is greedy search. A beam is its sum of log-probabilities, its tokens, its row."""
    known = {value.name for value in step.get_inputs()}
    beams, best = [(0.0, [], 0)], (-np.inf, [], 0)
    for length in range(1, max_length + 1):
        tokens = np.array([tokens[-1] if tokens else 0 for _, tokens, _ in beams])
        inputs = {name: value for name, value in {"tokens": tokens, **state}.items() if name in known}
        log_p, *values = step.run(None, inputs)
        state |= dict(zip(changed, values, strict=True))
        sums = np.array([total for total, *_ in beams], np.float32)[:, None] + log_p
        likeliest = np.argsort(-sums, axis=None, kind="stable")[:num_beams]
        pairs = zip(*np.unravel_index(likeliest, sums.shape), strict=True)
        # greedy search compares words alone: a long sum would round small differences away
        found = [(sums[row, word] * (num_beams > 1), [*beams[row][1], int(word)], row) for row, word in pairs]
        ended = [beam for beam in found if beam[1][-1] == 0 or length == max_length]
        best = max([best, *ended], key=lambda beam: beam[0])
        beams = [beam for beam in found if beam[1][-1] != 0]
        if not beams or beams[0][0] <= best[0]:  # sums only fall: no beam can become better than the best report
            break
        state = {name: value[[row for *_, row in beams]] for name, value in state.items()}
    return best[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--beams", type=int, default=3)
    parser.add_argument("--tokens", action="store_true", help="print token ids")
    given = parser.parse_args()
    about = json.loads((given.folder / "export.json").read_text(encoding="utf-8"))
    encoder, step = (onnxruntime.InferenceSession(given.folder / about[part]) for part in ("encoder", "step"))
    images = read(given.images, *(about["images"][key] for key in ("size", "mean", "std")))
    state = dict(zip(about["state"], encoder.run(None, {"images": images}), strict=True))
    written = decode(step, state, about["changed"], about["max_length"], given.beams)
    words = " ".join(about["texts"][token] for token in written).split()
    print(written if given.tokens else " ".join(words[: about["max_words"]]))
