"""Several processes compute the scores of one, alone and inside a Trainer."""

import json
import os
import random
import runpy
import traceback

import numpy as np
import pytest
import torch

from r2cmn.metrics import nlg_metrics
from r2cmn.metrics.clinical import ClinicalEfficacy
from r2cmn.metrics.meteor import meteor_of_sums
from r2cmn.metrics.nlg_metrics import NLGMetrics
from r2cmn.metrics.report import ReportMetrics

WORDS = [
    "no", "small", "effusion", ".", "edema", "possible", "pneumonia", "the", "heart", "is", "enlarged", "naïve", "°",
    "|||", "\n", "",
]  # fmt: skip
COUNT = 23  # odd, and no multiple of three
JAVA_PRINTS = " ".join(["9"] * 4 + ["1"] * 19)  # METEOR's 23 numbers of each report: lengths and matches


def written(count=COUNT):
    """Invented reports, an empty one among the generated and one among the references."""
    draw = random.Random(3)
    texts = [[" ".join(draw.choices(WORDS, k=draw.randint(3, 14))) for _ in range(count)] for _ in range(2)]
    texts[0][3] = texts[1][5] = ""
    return texts


def metrics():
    return {"nlg": NLGMetrics(meteor=False), "clinical": ClinicalEfficacy(), "report": ReportMetrics(meteor=False)}


def fill(metric, rows, size=4, index=True):
    generated, references = written()
    for i in range(0, len(rows), size):
        part = rows[i : i + size]
        more = [torch.tensor(part)] if index else []
        metric.update([generated[j] for j in part], [references[j] for j in part], *more)
    return metric


def plain(value):
    """The value after a round trip through JSON."""
    return json.loads(json.dumps(value))


def shares(size):
    """Studies by process for several samplers: padded, uneven, without studies for one process."""
    padded = [*range(COUNT), *range(-COUNT % size)]
    return {
        "padded": [padded[rank::size] for rank in range(size)],
        "uneven": [list(range(size - 1, COUNT)), *([i] for i in range(size - 1))],
        "last empty": [list(range(COUNT))[rank :: size - 1] for rank in range(size - 1)] + [[]],
        "first empty": [[], *([list(range(COUNT))] * (size - 1))],
    }


# ---- what runs in the processes --------------------------------------------------------------------------------------


SIZES = (3, 2)


def one_process(rank, folder):
    """Be one of three processes, then of the first two: score alone, and train as a user would write it."""
    try:
        for size in SIZES:
            if rank < size:
                start = f"file://{folder}/{size}/meeting"
                torch.distributed.init_process_group("gloo", init_method=start, rank=rank, world_size=size)
                gloo(rank, size, folder / str(size))
                os.environ["LOCAL_RANK"] = str(rank)  # tells Lightning that the processes are started already
                trainer(size, folder / str(size))
                torch.distributed.destroy_process_group()
    except BaseException:
        (folder / f"error{rank}.txt").write_text(traceback.format_exc())
        raise


def gloo(rank, size, folder):
    """Score in one of many processes and write the results to a file."""
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}/bin{os.pathsep}{path}"
    seen = {}
    for share, rows in shares(size).items():
        for name, metric in metrics().items():
            fill(metric, rows[rank])
            seen[f"{share} {name}"] = metric.compute()
            if name == "report":
                seen[f"{share} reports"] = metric.reports()
            if name == "clinical":
                seen[f"{share} table"] = metric.per_observation()
                seen[f"{share} labels"] = [side.tolist() for side in metric.labeled()]
                fill(metric, [0])  # the state is this process's own again
                seen[f"{share} again"] = metric.compute()
    for name, metric in metrics().items():  # each process gets every size-th study, as a sampler deals them out
        fill(metric, list(range(COUNT))[rank::size], index=False)
        seen[f"counted {name}"] = metric.compute()
    seen["meteor"] = fill(ReportMetrics(meteor=True), shares(size)["padded"][rank]).compute()
    seen["errors"] = {"nothing": error_of(ClinicalEfficacy().compute)}
    metric, scores = ReportMetrics(meteor=False), nlg_metrics.nlg_scores
    fill(metric, shares(size)["last empty"][rank][:2])
    nlg_metrics.nlg_scores = fail
    seen["errors"]["scoring"] = error_of(metric.compute)
    nlg_metrics.nlg_scores = scores
    seen["after an error"] = fill(metric, shares(size)["last empty"][rank][2:]).compute()
    (folder / f"seen{rank}.json").write_text(json.dumps(seen))
    os.environ["PATH"] = path


class UnpicklableError(Exception):
    def __reduce__(self):
        raise TypeError("this error does not pickle")


def fail(*_):
    raise UnpicklableError("scoring failed")


def error_of(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def trainer(size, folder):
    """Train a module that has both metrics on `size` processes and write their scores to a file."""
    import pytorch_lightning as pl

    class Reports(torch.utils.data.Dataset):
        def __len__(self):
            return COUNT

        def __getitem__(self, i):
            return i

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.nlg, self.clinical = NLGMetrics(meteor=False), ClinicalEfficacy()
            self.seen = {}

        def training_step(self, batch, _):
            return (self.weight * batch).sum()

        def validation_step(self, batch, _):
            for metric in (self.nlg, self.clinical):
                fill(metric, batch.tolist())

        def on_validation_epoch_end(self):
            scores = {**self.nlg.compute(), **self.clinical.compute()}
            stage = f"{self.trainer.state.fn.value} {self.current_epoch}"
            self.seen[stage] = {"scores": scores, "table": self.clinical.per_observation()}
            self.log_dict({name: value for name, value in scores.items() if name != "METEOR"})
            self.nlg.reset()
            self.clinical.reset()

        test_step, on_test_epoch_end = validation_step, on_validation_epoch_end

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def loader():
        return torch.utils.data.DataLoader(Reports(), batch_size=4)

    module = Module()
    runner = pl.Trainer(
        accelerator="cpu", devices=size, strategy="ddp" if size > 1 else "auto", max_epochs=2, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=1,
        default_root_dir=folder,
    )  # fmt: skip
    runner.fit(module, loader(), loader())
    runner.test(module, loader(), verbose=False)
    logged = {name: float(value) for name, value in runner.callback_metrics.items()}
    rank = runner.global_rank
    (folder / f"trainer{size}_{rank}.json").write_text(json.dumps({"seen": module.seen, "logged": logged}))


# ---- the tests -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes(tmp_path_factory, fork_context):
    """The folder of what three processes wrote, and then two of them."""
    folder = tmp_path_factory.mktemp("processes")
    for size in SIZES:
        java = folder / str(size) / "bin" / "java"
        java.parent.mkdir(parents=True)
        java.write_text(  # counts how often it starts
            f"#!/bin/sh\necho started >> {folder}/{size}/starts\nfor i in $(seq {COUNT}); do echo {JAVA_PRINTS}; done\n"
        )
        java.chmod(0o755)
    running = []
    for rank in range(max(SIZES)):
        given = {"init_globals": {"rank": rank, "folder": folder}, "run_name": "one of the processes"}
        running.append(fork_context.Process(target=runpy.run_path, args=(__file__,), kwargs=given))
        running[-1].start()
    try:
        for process in running:
            process.join(240)
    finally:
        for process in running:
            process.kill()
            process.join()
    complaints = "\n".join(file.read_text() for file in folder.glob("error*.txt"))
    assert [process.exitcode for process in running] == [0] * len(running), complaints
    return folder


@pytest.fixture(params=[2, 3])
def seen(request, processes):
    """Results of each of 2 or 3 processes."""
    folder = processes / str(request.param)
    return [
        json.loads((folder / f"seen{rank}.json").read_text()) | {"starts": (folder / "starts").read_text().split()}
        for rank in range(request.param)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("share", ["padded", "uneven", "last empty", "first empty", "counted"])
def test_many_processes_compute_the_scores_of_one(seen, share):
    for name, metric in metrics().items():
        one = json.dumps(fill(metric, list(range(COUNT))).compute())
        assert [json.dumps(process[f"{share} {name}"]) for process in seen] == [one] * len(seen)


@pytest.mark.slow
@pytest.mark.parametrize("share", ["padded", "uneven", "last empty", "first empty"])
def test_tables_and_labels_are_those_of_all_studies(seen, share):
    one = fill(ClinicalEfficacy(), list(range(COUNT)))
    for process in seen:
        assert process[f"{share} table"] == plain(one.per_observation())
        assert process[f"{share} labels"] == [side.tolist() for side in one.labeled()]
        assert process[f"{share} again"] == plain(one.compute())


@pytest.mark.slow
@pytest.mark.parametrize("share", ["padded", "uneven", "last empty", "first empty"])
def test_every_process_has_all_reports(seen, share):
    generated, references = written()
    for process in seen:
        assert process[f"{share} reports"] == [[i, generated[i], references[i]] for i in range(COUNT)]


@pytest.mark.slow
def test_java_starts_once_for_all_processes(seen):
    assert seen[0]["starts"] == ["started"]
    numbers = np.array([[COUNT * float(number) for number in JAVA_PRINTS.split()]])
    one = {
        **fill(ReportMetrics(meteor=False), list(range(COUNT))).compute(),
        "METEOR": float(meteor_of_sums(numbers)[0]),
    }
    assert 0 < one["METEOR"] < 1
    assert [process["meteor"] for process in seen] == [plain(one)] * len(seen)


@pytest.mark.slow
def test_an_error_reaches_every_process_and_keeps_the_reports(seen):
    first, *others = (process["errors"] for process in seen)
    assert first == {
        "nothing": "ValueError: there are no reports to score: call update before compute",
        "scoring": "UnpicklableError: scoring failed",
    }
    raised = {name: f"RuntimeError: the first process could not score the reports: {first[name]}" for name in first}
    assert others == [raised] * len(others)
    one = json.dumps(fill(ReportMetrics(meteor=False), list(range(COUNT))).compute())
    assert [json.dumps(process["after an error"]) for process in seen] == [one] * len(seen)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_trainer_on_several_processes_computes_the_scores_of_one(processes, tmp_path, size):
    if size == 1:
        trainer(size, tmp_path)
    folder = tmp_path if size == 1 else processes / str(size)
    alone = {name: fill(metric, list(range(COUNT))) for name, metric in metrics().items()}
    scores = {**alone["nlg"].compute(), **alone["clinical"].compute()}
    expected = json.dumps({"scores": scores, "table": alone["clinical"].per_observation()})
    for rank in range(size):
        content = json.loads((folder / f"trainer{size}_{rank}.json").read_text())
        found = {stage: json.dumps(seen) for stage, seen in content["seen"].items()}
        assert found.pop("fit 0") == expected  # the sanity check saw other studies and was overwritten
        assert set(found.values()) == {expected}
        assert len(found) == 2  # the second epoch, and the test
        for name, value in content["logged"].items():
            assert value == pytest.approx(scores[name], abs=1e-6)  # Lightning logs in float32
        assert "CE_macro_F1" in content["logged"]


if __name__ == "one of the processes":  # see `processes`
    one_process(globals()["rank"], globals()["folder"])
