"""`r2cmn import-checkpoint` and `export-checkpoint`: conversion of files of the released trainers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from r2cmn.checkpoints import AtomicCheckpointIO, CheckpointError, read_checkpoint
from r2cmn.config import compose, conf_dir, plain
from r2cmn.data.images import ImageTransform
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.files import read_json
from r2cmn.files.weights import refusing
from r2cmn.module import CMNModule
from r2cmn.released import families, optimizer, weights
from r2cmn.released.families import Family, Names
from r2cmn.released.files import ReleasedFile, ReleasedFileError, read_released
from r2cmn.types import Config

_EXTRAS = "released"
"""Key of our checkpoint for values that only the released file has, for a later export."""


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        keys: the released name of every tensor, and ours; for the second copy of the memory and the sinusoids, what
            they were compared with.
        num_moments: parameters whose optimizer state was converted.
        epoch: epochs trained.
        notes: warnings for the user.
    """

    keys: dict[str, str]
    num_moments: int
    epoch: int
    notes: tuple[str, ...] = ()


def datasets() -> list[str]:
    """Return the data sets that have a preset of the released scripts."""
    suffix = "_released"
    return sorted(path.stem.removesuffix(suffix) for path in (conf_dir() / "experiment").glob(f"*{suffix}.yaml"))


def import_checkpoint(
    path: Path, annotation: Path, dataset: str, out: Path, overrides: Sequence[str] = (), backbone: Config | None = None
) -> Conversion:
    """Convert a file of a released trainer to a checkpoint that can be used, tested and trained further.

    Args:
        path: `model_best.pth` or `current_checkpoint.pth` of R2GenCMN or R2Gen, or their weights alone.
        annotation: the annotation that the model was trained with; the vocabulary is rebuilt from it.
        dataset: one of `datasets()`; its preset has the settings that cannot be read from weights.
        out: the checkpoint to write.
        overrides: of the preset, such as `memory.num_queried=16` or `data.text.threshold=5`.
        backbone: description of a trunk with the children of torchvision's ResNet, if it is of another size.

    Raises:
        ReleasedFileError: naming the invalid key or number.
    """
    file = read_released(path)
    with refusing(path, ReleasedFileError):
        family = families.recognize(file.weights)
        sizes = families.sizes(file.weights, family)
        config = _preset(dataset, family, overrides)
        model = _described(file, sizes, config, backbone)
        tokenizer = _tokenizer(annotation, config["data"]["text"], sizes["vocabulary_size"])
        module = _module(model, tokenizer, config, file.optimizer)
        names = weights.sources(module.model.state_dict(), family, sizes["num_layers"])
        module.model.load_state_dict(weights.to_ours(file.weights, module.model.state_dict(), names))
        checkpoint, notes = _checkpoint(module, file, names)
        absent = [key for key in names if key not in file.weights]
        if absent:
            notes = (*notes, f"the file has no '{absent[0]}' ({len(absent)} such keys): computed, or counted from 0")
        positions = {key: value for key, value in file.weights.items() if names[key] == families.COMPUTED}
        extras = {"monitor_best": float(file.best), "prefix": file.prefix, "positions": positions, "absent": absent}
        AtomicCheckpointIO().save_checkpoint({**checkpoint, _EXTRAS: extras}, out)
        moments = len(checkpoint.get("optimizer_states", [{"state": ()}])[0]["state"])
        return Conversion({key: names[key] for key in file.weights}, moments, file.epoch, (*file.notes, *notes))


def _preset(dataset: str, family: Family, overrides: Sequence[str]) -> dict[str, Any]:
    if dataset not in datasets():
        raise ReleasedFileError(f"--dataset is one of {', '.join(datasets())}, not '{dataset}'")
    config = compose([f"experiment={dataset}_released", "data.dir=.", *family.overrides[dataset], *overrides])
    parts = ("backbone", "memory", "encoder_decoder", "generation", "objective", "optimizer", "metrics", "data")
    return {name: plain(config[name]) for name in parts}


def _described(file: ReleasedFile, sizes: dict[str, int], config: Config, backbone: Config | None) -> Config:
    """Return the descriptions of the model's parts: the preset's, with the sizes of the weights."""
    if backbone is None:
        backbone = {**config["backbone"], "name": f"{weights.trunk_name(file.weights)}.tv_in1k"}
    backbone = {**backbone, "dim": sizes["dim"]} | ({"pretrained": False} if "pretrained" in backbone else {})
    known = {**sizes, "num_threads": config["encoder_decoder"]["num_heads"]}
    memory, encoder_decoder = (
        {key: known.get(key, value) for key, value in config[part].items()} for part in ("memory", "encoder_decoder")
    )
    return {"backbone": backbone, "memory": memory, "encoder_decoder": encoder_decoder}


def _tokenizer(annotation: Path, text: Config, vocabulary_size: int) -> Tokenizer:
    try:
        reports = [entry["report"] for entry in read_json(annotation)["train"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ReleasedFileError(
            f"{annotation} is no annotation with the reports of a split 'train': {type(error).__name__} {error}"
        ) from error
    tokenizer = Tokenizer.build(reports, **text)
    if tokenizer.vocabulary_size != vocabulary_size:
        raise ReleasedFileError(
            f"the weights have {vocabulary_size - 1} words, but {annotation} with words used {text['threshold']} times "
            f"or more has {len(tokenizer.words)}: it is not what the model was trained with"
        )
    return tokenizer


def _module(model: Config, tokenizer: Tokenizer, config: Config, state: Any) -> CMNModule:
    """Build the module with the optimizer settings of the file, if it has any."""
    images = dict(config["data"]["images"])
    num_views = images.pop("num_views")
    data = {
        "tokenizer": tokenizer.to_dict(),
        "images": {**ImageTransform(**images).to_dict(), "num_views": num_views},
        "license_class": config["data"]["license_class"],
    }
    adam = dict(config["optimizer"])
    if state is not None:
        trunk, rest = state["param_groups"][0], state["param_groups"][-1]
        adam |= {key: _plain_value(rest[key]) for key in ("betas", "eps", "weight_decay", "amsgrad")}
        adam |= {"backbone_lr": trunk.get("initial_lr", trunk["lr"]), "lr": rest.get("initial_lr", rest["lr"])}
    parts = {name: config[name] for name in ("generation", "objective", "metrics")}
    return CMNModule(model=model, data=data, optimizer=adam, **parts)


def _plain_value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _checkpoint(module: CMNModule, file: ReleasedFile, names: Names) -> tuple[Config, tuple[str, ...]]:
    """Return the checkpoint that Lightning writes at the end of an epoch; without an optimizer, enough to test."""
    epoch, state = file.epoch, file.optimizer
    last = max(epoch - 1, 0)
    progress = {"ready": epoch, "started": epoch, "processed": epoch, "completed": last}
    loops: Config = {"state_dict": {}, "epoch_progress": {"total": progress, "current": dict(progress)}}
    checkpoint: Config = {
        "epoch": last,
        "global_step": 0,
        "pytorch-lightning_version": pl.__version__,
        "state_dict": module.state_dict(),
        "loops": {"fit_loop": loops},
        "callbacks": {},
        "hparams_name": "kwargs",
        "hyper_parameters": dict(module.hparams),
    }
    module.on_save_checkpoint(checkpoint)
    if state is None:
        return checkpoint, (
            "the file has no optimizer: the checkpoint can be used and tested, but not trained further",
        )
    model = module.model.state_dict()
    theirs = optimizer.released_order(names)
    adam = optimizer.to_ours(state, theirs, optimizer.our_order(model), model)
    steps = int(max((float(values["step"]) for values in adam["state"].values()), default=0))
    done = {"total": {"ready": steps, "completed": steps}, "current": {"ready": 0, "completed": 0}}
    loops["epoch_loop.automatic_optimization.optim_progress"] = {
        "optimizer": {"step": done, "zero_grad": {k: {**v, "started": v["ready"]} for k, v in done.items()}}
    }
    loops["epoch_loop.state_dict"] = {"_batches_that_stepped": steps}
    schedule, notes = _schedule(module, adam, epoch)
    return checkpoint | {"global_step": steps, "optimizer_states": [adam], "lr_schedulers": [schedule]}, notes


def _schedule(module: CMNModule, adam: Config, epoch: int) -> tuple[Config, tuple[str, ...]]:
    """Return the state of the schedule after the epochs trained; the released file has none."""
    _, [planned] = module.configure_optimizers()
    scheduler = planned["scheduler"]
    rates = [group["lr"] for group in adam["param_groups"]]
    state = {**scheduler.state_dict(), "last_epoch": epoch, "_step_count": epoch + 1, "_last_lr": rates}
    expected = [rate * scheduler.gamma ** (epoch // scheduler.step_size) for rate in state["base_lrs"]]
    if all(abs(rate - other) <= 1e-6 * other for rate, other in zip(rates, expected, strict=True)):
        return state, ()
    note = (
        f"the file's learning rates are {rates}, but the preset's schedule has {expected} after {epoch} epochs: "
        "training continues with the file's; set optimizer.schedule.step_size=… if the run had another"
    )
    return state, (note,)


def export_checkpoint(path: Path, out: Path) -> Conversion:
    """Convert a checkpoint to a file of the released trainer, of R2GenCMN or R2Gen.

    Args:
        path: a checkpoint, imported or trained here.
        out: the file to write.

    Raises:
        ReleasedFileError: naming the part of the model that the released code cannot represent.
    """
    content = read_checkpoint(path)
    with refusing(path, CheckpointError):
        parts = content["hyper_parameters"]["model"]
        family = _holding(parts)
        model = {key.removeprefix("model."): value for key, value in content["state_dict"].items()}
        names = weights.sources(model, family, parts["encoder_decoder"].get("num_layers", 3))
        extras = {"prefix": "", "positions": {}, "absent": (), **content.get(_EXTRAS, {"monitor_best": _best(content)})}
        theirs = weights.to_theirs(model, names) | extras["positions"]
        theirs = {key: value for key, value in theirs.items() if key not in extras["absent"]}
        epoch = content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        released = {"epoch": epoch, "state_dict": OrderedDict((extras["prefix"] + k, v) for k, v in theirs.items())}
        if content.get("optimizer_states"):
            order = optimizer.released_order(names)
            adam = optimizer.to_theirs(content["optimizer_states"][0], optimizer.our_order(model), order)
            released["optimizer"] = adam
        released["monitor_best"] = extras["monitor_best"]
        AtomicCheckpointIO().save_checkpoint(released, out)
        moments = len(released.get("optimizer", {"state": ()})["state"])
        return Conversion({key: names[key] for key in theirs}, moments, epoch)


def _holding(parts: Config) -> Family:
    """Return the family whose code can hold a model; settings that cannot be seen in the weights are checked, too."""
    cannot = "the released code cannot hold this model: "
    kinds = {part: parts[part]["_target_"].rpartition(".")[2] for part in ("memory", "encoder_decoder")}
    family = next((f for f in families.FAMILIES if f.parts["encoder_decoder"] == kinds["encoder_decoder"]), None)
    if family is None:
        known = " or ".join(f.parts["encoder_decoder"] for f in families.FAMILIES)
        raise ReleasedFileError(f"{cannot}its encoder_decoder is no {known}")
    if family.parts["memory"] != kinds["memory"]:
        raise ReleasedFileError(f"{cannot}its memory is no {family.parts['memory']}")
    memory, heads = parts["memory"], parts["encoder_decoder"].get("num_heads", 8)
    if not memory.get("residual", True):
        raise ReleasedFileError(f"{cannot}it adds responses, but memory.residual is false")
    threads = memory.get("num_threads", 8)
    if family is families.R2GENCMN and threads != heads:
        raise ReleasedFileError(f"{cannot}it has as many threads as heads, not {threads} and {heads}")
    return family


def _best(content: Config) -> float:
    scores = [each.get("best_model_score") for each in content.get("callbacks", {}).values() if isinstance(each, dict)]
    return next((float(score) for score in scores if score is not None), 0.0)
