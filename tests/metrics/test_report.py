"""As a script, this file is one of the gloo processes that its tests start: test_report.py RANK SIZE FOLDER."""

import json
import math
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from r2cmn.metrics import nlg_metrics
from r2cmn.metrics.degeneracy import LOGGED as LOGGED_COUNTS
from r2cmn.metrics.degeneracy import degeneracy
from r2cmn.metrics.efficacy import efficacy
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.meteor import meteor_of_sums
from r2cmn.metrics.nlg import nlg_scores
from r2cmn.metrics.report import LOGGED, ReportMetrics

WORDS = ["the", "heart", "is", "normal", ".", "lungs", "clear", "effusion", "no", "edema", "élargi", "°", "|||", "\n"]
COUNT = 23
JAVA_SAYS = " ".join(["9"] * 4 + ["1"] * 19)  # of each report: lengths and matches, METEOR's 23 numbers
NAMES = {"BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr", "distinct", "most_common", "mean_length"}
NAMES |= {f"CE_{average}_{score}" for average in ("macro", "micro", "example") for score in ("P", "R", "F1")}


def written(count=COUNT):
    """Invented reports, an empty one among the generated and one among the references."""
    draw = random.Random(7)
    texts = [[" ".join(draw.choices(WORDS, k=draw.randint(3, 12))) for _ in range(count)] for _ in range(2)]
    texts[0][3] = texts[1][5] = ""
    return texts


def fill(metrics, rows, size=4):
    generated, references = written()
    for i in range(0, len(rows), size):
        part = rows[i : i + size]
        metrics.update([generated[j] for j in part], [references[j] for j in part], torch.tensor(part))


def scored(rows, **choice):
    metrics = ReportMetrics(**{"meteor": False, **choice})
    fill(metrics, rows)
    return metrics.compute()


def same(ours, theirs):
    """Whether two results are equal bit for bit, with nan equal to nan."""
    return json.dumps(ours, sort_keys=True) == json.dumps(theirs, sort_keys=True)


# ---- one process -----------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_corpus():
    generated, references = written()
    ours = scored(list(range(COUNT)))
    assert set(ours) == NAMES
    assert all(type(value) is float for value in ours.values())
    clinical = efficacy(*(RuleLabeler()(texts) for texts in (generated, references)))
    clinical = {name: clinical[name] for name in LOGGED}
    counts = {name: degeneracy(generated)[name] for name in LOGGED_COUNTS}
    assert same(ours, {**nlg_scores(generated, references, meteor=False), **counts, **clinical})
    assert 0 < ours["CE_micro_F1"] < 1
    assert ours["BLEU_1"] > 0.1
    assert math.isnan(ours["METEOR"])


def test_repeated_studies_count_once_in_any_order():
    plain = scored(list(range(COUNT)))
    shuffled = torch.randperm(COUNT).tolist()
    assert same(scored([*shuffled, *shuffled[:5], 0, 0]), plain)
    # the padding would change the scores
    generated, references = written()
    twice = nlg_scores(generated + generated[:5], references + references[:5], meteor=False)
    assert abs(twice["BLEU_1"] - plain["BLEU_1"]) > 1e-4


def test_reports_are_ordered_and_exact():
    metrics = ReportMetrics(meteor=False)
    fill(metrics, [9, 3, 5, 9, 0])
    generated, references = written()
    assert metrics.reports() == [(i, generated[i], references[i]) for i in (0, 3, 5, 9)]
    fill(metrics, [1])
    assert [i for i, _, _ in metrics.reports()] == [0, 1, 3, 5, 9]
    metrics.reset()
    assert metrics.reports() == []


def test_text_that_utf8_cannot_encode_is_replaced():
    metrics = ReportMetrics(meteor=False)
    metrics.update(["a\ud800b"], ["☃ é"], torch.tensor([4]))
    assert metrics.reports() == [(4, "a?b", "☃ é")]


def test_no_report_is_an_error_and_an_empty_batch_is_none():
    metrics = ReportMetrics(meteor=False)
    metrics.update([], [], torch.zeros(0, dtype=torch.long))
    with pytest.raises(ValueError, match="no reports to score"):
        metrics.compute()
    metrics.update([""], [""], torch.tensor([0]))
    assert metrics.compute()["mean_length"] == 0


def test_lists_of_different_lengths_are_errors():
    with pytest.raises(ValueError, match="2 reports, 1 references and 2 indices"):
        ReportMetrics().update(["a", "b"], ["a"], torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="1 reports, 1 references and 2 indices"):
        ReportMetrics().update(["a"], ["a"], torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"metrics\.meteor.*'never'"):
        ReportMetrics(meteor="never")


def test_clinical_efficacy_is_optional_and_takes_another_labeler():
    without = scored(list(range(COUNT)), clinical=False)
    assert set(without) == {name for name in NAMES if not name.startswith("CE_")}
    assert {**scored(list(range(COUNT))), **without} == pytest.approx(scored(list(range(COUNT))), nan_ok=True)

    class AllBlank:
        name = "blank"

        def __call__(self, reports):
            return RuleLabeler()([""] * len(reports))

    assert scored(list(range(COUNT)), labeler=AllBlank())["CE_micro_F1"] == 1
    with pytest.raises(ValueError, match=r"metrics\.clinical.*'yes'"):
        ReportMetrics(clinical="yes")


def test_it_adds_nothing_to_the_checkpoint_and_pickles():
    metrics = ReportMetrics(meteor=False)
    fill(metrics, list(range(8)))
    assert torch.nn.ModuleDict({"metrics": metrics}).state_dict() == {}
    assert list(metrics.parameters()) == []
    copied = pickle.loads(pickle.dumps(metrics))
    assert copied.meteor is False
    assert same(copied.compute(), metrics.compute())


def test_half_precision_does_not_change_the_reports():
    module = torch.nn.ModuleDict({"metrics": ReportMetrics(meteor=False)})
    fill(module["metrics"], list(range(COUNT)))
    module.half()
    fill(module["metrics"], [1])
    assert same(module["metrics"].compute(), scored(list(range(COUNT))))


def test_inference_mode_then_training():
    metrics = ReportMetrics(meteor=False)
    with torch.inference_mode():
        fill(metrics, list(range(COUNT)))
        inside = metrics.compute()
    assert same(inside, scored(list(range(COUNT))))
    assert len(metrics.reports()) == COUNT


# ---- many processes --------------------------------------------------------------------------------------------------


class UnpicklableError(Exception):
    def __reduce__(self):
        raise TypeError("this error does not pickle")


def shares(size):
    """Studies by process for several samplers: padded, uneven, without studies for the last or the first process."""
    padded = [*range(COUNT), *range(-COUNT % size)]
    uneven = [[0]] * (size - 1)
    return {
        "padded": [padded[rank::size] for rank in range(size)],
        "uneven": [list(range(1, COUNT)), *uneven],
        "empty": [list(range(COUNT))[rank :: size - 1] for rank in range(size - 1)] + [[]],
        "first_empty": [[], *([list(range(COUNT))] * (size - 1))],
    }


def process(rank, size, folder):
    """Score in one of many processes and write the results to a file."""
    os.environ["PATH"] = f"{folder}/bin{os.pathsep}{os.environ['PATH']}"
    start = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=start, rank=rank, world_size=size)
    seen = {"scores": {}, "reports": {}, "errors": {}}
    for name, rows in shares(size).items():
        metrics = ReportMetrics(meteor=False)
        fill(metrics, rows[rank])
        seen["reports"][name] = metrics.reports()
        seen["scores"][name] = metrics.compute()
    metrics = ReportMetrics(meteor=True)  # the `java` of the test counts how often it is started
    fill(metrics, shares(size)["padded"][rank])
    seen["scores"]["meteor"] = metrics.compute()
    seen["errors"]["nothing"] = error_of(ReportMetrics(meteor=False).compute)

    metrics, scores = ReportMetrics(meteor=False), nlg_metrics.nlg_scores
    fill(metrics, shares(size)["empty"][rank][:2])
    nlg_metrics.nlg_scores = fail
    seen["errors"]["scoring"] = error_of(metrics.compute)
    nlg_metrics.nlg_scores = scores
    fill(metrics, shares(size)["empty"][rank][2:])
    seen["scores"]["after an error"] = metrics.compute()
    (folder / f"seen{rank}.json").write_text(json.dumps(seen))
    torch.distributed.destroy_process_group()


def fail(*_):
    raise UnpicklableError("scores fell over")


def error_of(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.fixture(scope="module", params=[2, 3])
def seen(request, tmp_path_factory):
    """Results of each of 2 or 3 processes."""
    size, folder = request.param, tmp_path_factory.mktemp("processes")
    (folder / "bin").mkdir()
    (folder / "bin" / "java").write_text(
        f"#!/bin/sh\necho started >> {folder}/starts\nfor i in $(seq {COUNT}); do echo {JAVA_SAYS}; done\n"
    )
    (folder / "bin" / "java").chmod(0o755)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # not torch.multiprocessing: a spawned process would have to import this module by a name that it does not have
    commands = [[sys.executable, __file__, str(rank), str(size), str(folder)] for rank in range(size)]
    processes = [subprocess.Popen(c, env=environment, stderr=subprocess.PIPE, text=True) for c in commands]
    try:
        complaints = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * size, "\n".join(complaints)
    found = [json.loads((folder / f"seen{rank}.json").read_text()) for rank in range(size)]
    return found, (folder / "starts").read_text().split()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["padded", "uneven", "empty", "first_empty"])
def test_many_processes_compute_the_scores_of_one(seen, name):
    one = scored(list(range(COUNT)))
    generated, references = written()
    for process_seen in seen[0]:
        assert same(process_seen["scores"][name], one)
        assert process_seen["reports"][name] == [[i, generated[i], references[i]] for i in range(COUNT)]


@pytest.mark.slow
def test_java_starts_once_for_all_processes(seen):
    found, starts = seen
    assert starts == ["started"]
    one = {
        **scored(list(range(COUNT))),
        "METEOR": float(meteor_of_sums(np.array([[COUNT * float(n) for n in JAVA_SAYS.split()]]))[0]),
    }
    assert 0 < one["METEOR"] < 1
    assert all(same(process_seen["scores"]["meteor"], one) for process_seen in found)


@pytest.mark.slow
def test_an_error_reaches_every_process(seen):
    first, *others = [process_seen["errors"] for process_seen in seen[0]]
    assert first == {
        "scoring": "UnpicklableError: scores fell over",
        "nothing": "ValueError: there are no reports to score: call update before compute",
    }
    heard = "RuntimeError: the first process could not score the reports: "
    for other in others:
        assert other == {name: heard + sentence for name, sentence in first.items()}


@pytest.mark.slow
def test_an_error_keeps_the_reports(seen):
    one = scored(list(range(COUNT)))
    assert all(same(process_seen["scores"]["after an error"], one) for process_seen in seen[0])


if __name__ == "__main__":
    process(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
