"""Speed of the data path and of kept features: `python -m benchmarks.data [--dir PATH] [--only TABLE] [--json]`.

All sides run in this process in turn; the figures are medians of five. The plain formulation decodes and resizes each
image every epoch, as the released code does. `--dir` is a data folder, `$R2CMN_DATA` where it is not given, drawn
phantoms where neither is.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from r2cmn import CMNModule
from r2cmn.config import compose, plain
from r2cmn.data.batches import ReportDataset, collate
from r2cmn.data.datamodule import ReportDataModule
from r2cmn.data.images import ImageTransform
from r2cmn.data.views import read_images
from r2cmn.phantom.make import PhantomOptions, make_phantom

MIMIC_IMAGES = 370_000
MIMIC_SHAPE = (3056, 2544)  # the commonest in MIMIC-CXR-JPG, of 1.5 MB on average
REPEATS = 5


def subset(source: Path, folder: Path, num_studies: int) -> Path:
    """Make a data folder of the first training studies of another, which are val and test, too."""
    entries = json.loads((source / "annotation.json").read_text())["train"][:num_studies]
    content = {
        s: [{**e, "id": f"{s}-{n}", "split": s} for n, e in enumerate(entries)] for s in ("train", "val", "test")
    }
    folder.mkdir()
    (folder / "annotation.json").write_text(json.dumps(content))
    (folder / "images").symlink_to((source / "images").absolute())
    return folder


def full_size_images(folder: Path, number: int) -> list[Path]:
    """Draw gray JPEGs of the size in pixels and bytes that MIMIC-CXR-JPG has."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    paths = [folder / f"{n}.jpg" for n in range(number)]
    for path in paths:
        coarse = Image.fromarray(generator.integers(40, 200, (12, 10), dtype=np.uint8)).resize(MIMIC_SHAPE[::-1])
        noise = generator.normal(0, 3, MIMIC_SHAPE)
        Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def in_turn(sides: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Time all sides in turn, once to warm up and five times more: medians in seconds of one core.

    A core's time, because it does not change with what else this machine does, and no side waits for a disk.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(1 + REPEATS):
        for name, run in sides.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    torch.set_num_threads(threads)
    return {name: statistics.median(taken[1:]) for name, taken in seconds.items()}


class PlainDataset(torch.utils.data.Dataset):
    """The released formulation: decode, resize, cut and normalize each time."""

    def __init__(self, studies, tokenizer, training):
        cut = [transforms.Resize(256), transforms.RandomCrop(224)] if training else [transforms.Resize((224, 224))]
        normalize = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        self.transform = transforms.Compose([*cut, transforms.ToTensor(), normalize])
        self.studies, self.tokens = studies, [torch.tensor(tokenizer.encode(study.report)) for study in studies]

    def __getitem__(self, index):
        images = self.studies[index].images
        return torch.stack([self.transform(Image.open(path).convert("RGB")) for path in images]), self.tokens[index]


def plain_collate(samples):
    tokens = torch.nn.utils.rnn.pad_sequence([tokens for _, tokens in samples], batch_first=True)
    return torch.stack([images for images, _ in samples]), tokens


def read(dataset, collate_fn, num_studies: int) -> None:
    for start in range(0, num_studies, 16):
        collate_fn([dataset[index] for index in range(start, min(start + 16, num_studies))])


def reading(dir: Path) -> list[dict]:
    """Images a second of one core."""
    rows = []
    for split in ("train", "test"):
        kept = {cache: ReportDataModule(dir, num_workers=0, cache=cache) for cache in ("none", "memory", "disk")}
        sides: dict[str, Callable[[], object]] = {}
        for cache, data in kept.items():
            dataset: ReportDataset = getattr(data, f"{split}_dataloader")().dataset
            sides[cache] = lambda d=dataset: read(d, collate, len(d))
        data = kept["none"]
        studies = data.studies[split]
        images = len(studies) * data.num_views
        released = PlainDataset(studies, data.tokenizer, split == "train")
        for ours, theirs in ((kept["disk"], "disk"), (kept["memory"], "memory"), (kept["none"], "none")):
            check_equal(getattr(ours, f"{split}_dataloader")().dataset, released, theirs)
        seconds = in_turn({"plain": lambda r=released: read(r, plain_collate, len(r.studies)), **sides})
        rate = {name: images / taken for name, taken in seconds.items()}
        rows += [
            {"reading": split, "cache": cache, "ours_per_s": rate[cache], "plain_per_s": rate["plain"],
             "ratio": rate[cache] / rate["plain"], "ratio_to_none": rate[cache] / rate["none"]}
            for cache in ("none", "memory", "disk")
        ]  # fmt: skip
    return rows


def check_equal(ours, released, name: str) -> None:
    """Both sides must read the same before their times are compared."""
    torch.manual_seed(0)
    first = collate([ours[index] for index in range(4)]).images
    torch.manual_seed(0)
    theirs = plain_collate([released[index] for index in range(4)])[0]
    # its ToTensor divides by 255, ours multiplies by 1/255
    torch.testing.assert_close(first, theirs, rtol=1e-5, atol=1e-5, msg=name)


def building(dir: Path, folder: Path) -> list[dict]:
    """Seconds of a core to make a cache, and the same extrapolated to MIMIC-CXR."""
    data = ReportDataModule(dir, num_workers=0)
    data.setup()
    sets = {"these images": [path for study in data.studies["train"] for path in study.images],
            "2544 x 3056": full_size_images(folder / "full", 16)}  # fmt: skip
    rows = []
    for name, paths in sets.items():
        seconds, size = zip(*(build(paths, folder / "built") for _ in range(REPEATS)), strict=True)
        each, kept = statistics.median(seconds) / len(paths), size[0] / len(paths)
        rows.append({"images": name, "file_kB": statistics.mean(p.stat().st_size for p in paths) / 1e3,
                     "core_ms": each * 1e3, "kept_kB": kept / 1e3, "mimic_GB": kept * MIMIC_IMAGES / 1e9,
                     "mimic_core_h": each * MIMIC_IMAGES / 3600})  # fmt: skip
    return rows


def build(paths: list[Path], folder: Path) -> tuple[float, int]:
    """Seconds of all cores, which other work on this machine does not change, and bytes of a cache."""
    os.environ["R2CMN_CACHE"] = str(folder)
    start = time.process_time()
    read_images(paths, ImageTransform().preparation(training=True), "disk")
    seconds = time.process_time() - start
    size = sum(file.stat().st_size for file in folder.rglob("*.rows"))
    shutil.rmtree(folder)
    return seconds, size


def training(dir: Path) -> list[dict]:
    """Seconds of a training step a study at the paper's size, the data path included; random weights."""
    sides, batch_size = {}, 16
    frozen = {"backbone.frozen": "true", "data.images.random_crop": "false", "data.images.horizontal_flip": "false"}
    for name, options in {
        "trained": {}, "frozen": frozen, "features kept": {**frozen, "data.cache_features": "true"}
    }.items():  # fmt: skip
        overrides = [f"{key}={value}" for key, value in options.items()]
        config = compose(["experiment=iu_xray_paper", f"data.dir={dir}", "backbone.pretrained=false",
                          "metrics.meteor=false", "data.num_workers=0", *overrides])  # fmt: skip
        parts = {part: plain(config[part]) for part in ("data", "backbone", "memory", "encoder_decoder", "optimizer")}
        data = ReportDataModule(**{k: v for k, v in parts["data"].items() if k != "_target_"})
        torch.manual_seed(0)
        model = {part: parts[part] for part in ("backbone", "memory", "encoder_decoder")}
        module = CMNModule(model, data.describe(), optimizer=parts["optimizer"])
        if data.cache_features != "none":
            data.take_features_of(module.model.backbone)
        sides[name] = step(module, data)
    seconds = in_turn(sides)
    return [{"trunk": name, "s_per_study": taken / batch_size, "ratio_to_trained": seconds["trained"] / taken,
             "ratio_to_frozen": seconds["frozen"] / taken} for name, taken in seconds.items()]  # fmt: skip


def step(module: CMNModule, data: ReportDataModule) -> Callable[[], None]:
    configured = module.configure_optimizers()
    optimizer = configured[0][0] if isinstance(configured, tuple) else configured
    loader = data.train_dataloader()
    batches = iter(loader)

    def run() -> None:
        nonlocal batches
        batch = next(batches, None)
        if batch is None or len(batch.index) < data.batch_size:
            batches = iter(loader)
            batch = next(batches)
        optimizer.zero_grad()
        module.objective(module, batch).backward()
        optimizer.step()

    return run


def table(rows: list[dict]) -> str:
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=os.environ.get("R2CMN_DATA"))
    parser.add_argument("--num-studies", type=int, default=96)
    parser.add_argument("--only", choices=("reading", "building", "training"), help="one table")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = options.dir or make_phantom(PhantomOptions(max(240, 2 * options.num_studies), 0, 256), folder)
        os.environ["R2CMN_CACHE"] = str(folder / "cache")
        dir = subset(source, folder / "subset", options.num_studies)
        tables: dict[str, Callable[[], list[dict]]] = {
            "reading": lambda: reading(dir), "training": lambda: training(subset(dir, folder / "batch", 16)),
            "building": lambda: building(dir, folder),
        }  # fmt: skip
        result = {name: make() for name, make in tables.items() if options.only in (None, name)}
    print(json.dumps(result) if options.json else "\n\n".join(table(rows) for rows in result.values()))


if __name__ == "__main__":
    main()
