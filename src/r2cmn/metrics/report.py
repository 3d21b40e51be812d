"""The scores of generated reports over all processes, each study counted once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

from r2cmn.metrics.nlg import check_meteor, nlg_scores

_EMPTY = {
    "text": torch.zeros(0, dtype=torch.uint8),
    "lengths": torch.zeros(0, 2, dtype=torch.int64),
    "index": torch.zeros(0, dtype=torch.int64),
}


def degeneracy(generated: Sequence[str]) -> dict[str, float]:
    """Say how alike the reports are, because a model that always writes one report can have a good BLEU.

    Returns:
        distinct: number of distinct reports / number of reports, in (0, 1].
        most_common: share of the reports that equal the most frequent one, in (0, 1].
        mean_length: words a report, full stops included.

    Raises:
        ValueError: without reports.
    """
    if not generated:
        raise ValueError("there are no reports to score: call update before compute")
    reports = Counter(" ".join(text.split()) for text in generated)
    num_words = sum(len(text.split()) * count for text, count in reports.items())
    return {
        "distinct": len(reports) / len(generated),
        "most_common": max(reports.values()) / len(generated),
        "mean_length": num_words / len(generated),
    }


class ReportMetrics(Metric):
    """Scores of all reports of a split (`nlg_scores` and `degeneracy`), the same numbers on every process.

    Reports travel between processes as UTF-8 bytes: torchmetrics does not gather lists of strings, and each process
    would score its own share. A study that a sampler repeated to fill the last batch counts once, and reports are
    ordered by their index, so that any number of processes gives bit for bit the scores of one.

    Args:
        meteor: True computes METEOR or raises; False leaves it out (nan); "auto" computes it if it can.

    Raises:
        ValueError: if `meteor` is none of these.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    text: list[Tensor] | Tensor  # (sum of lengths,) uint8: generated, reference, generated, reference, ...
    lengths: list[Tensor] | Tensor  # (B, 2) int64, bytes of the generated report and of its reference
    index: list[Tensor] | Tensor  # (B,) int64

    def __init__(self, meteor: Literal["auto"] | bool = "auto") -> None:
        super().__init__()
        check_meteor(meteor)
        self.meteor = meteor
        for name in _EMPTY:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, generated: list[str], references: list[str], index: Tensor) -> None:
        """Add the reports of a batch; index (B,) is the position of each study in its split.

        Raises:
            ValueError: if there are not as many references and indices as reports.
        """
        if not len(generated) == len(references) == index.numel():
            raise ValueError(
                "every report needs one reference and one index: there are "
                f"{len(generated)} reports, {len(references)} references and {index.numel()} indices"
            )
        pairs = [[text.encode(errors="replace") for text in pair] for pair in zip(generated, references, strict=True)]
        text = bytearray(b"".join(part for pair in pairs for part in pair))
        lengths = [[len(part) for part in pair] for pair in pairs]
        new = {
            "text": torch.frombuffer(text, dtype=torch.uint8) if text else _EMPTY["text"],
            "lengths": torch.tensor(lengths, dtype=torch.int64).view(-1, 2),
            "index": index.detach().flatten().to(torch.int64),
        }
        for name, value in new.items():
            getattr(self, name).append(value.to(self.device))

    def compute(self) -> dict[str, float]:
        """Score every study once; collective: call it on every process.

        Raises:
            ValueError: if no process has a report.
            MeteorError: if `meteor` is True and METEOR could not be computed. Where the first process raises
                anything, the others raise RuntimeError with its sentence.
        """
        if not self._is_synced:
            return self._scores()
        try:
            return _on_first_process(self._scores, self.process_group)
        except Exception:
            self.unsync()  # torchmetrics would leave the gathered state in place of this process's own
            raise

    def reports(self) -> list[tuple[int, str, str]]:
        """Return (index, generated, reference) of every study once, ordered by index.

        Collective: call it on every process. The state stays as it is.
        """
        if self._is_synced:
            return self._unpack()
        self.sync()
        try:
            return self._unpack()
        finally:
            self.unsync(should_unsync=self._is_synced)

    def _scores(self) -> dict[str, float]:
        reports = self._unpack()
        generated = [generated for _, generated, _ in reports]
        references = [reference for _, _, reference in reports]
        return {**nlg_scores(generated, references, self.meteor), **degeneracy(generated)}

    def _unpack(self) -> list[tuple[int, str, str]]:
        state = {name: _joined(getattr(self, name), name).cpu() for name in _EMPTY}
        text, start = state["text"].numpy().tobytes(), 0
        found: dict[int, tuple[str, str]] = {}
        for index, (generated, reference) in zip(state["index"].tolist(), state["lengths"].tolist(), strict=True):
            middle, end = start + generated, start + generated + reference
            found.setdefault(index, (text[start:middle].decode(), text[middle:end].decode()))
            start = end
        return [(index, *found[index]) for index in sorted(found)]

    def _sync_dist(self, dist_sync_fn: Callable = gather_all_tensors, process_group: Any | None = None) -> None:
        """Gather the states of all processes, in the order of their ranks.

        Departs from torchmetrics: a process without reports sends empty tensors of the state's dtype (there float32,
        on which the others fail), and the tensors travel on the device that the backend can reach.
        """
        group = process_group or self.process_group
        device = _device_of(group)
        for name in _EMPTY:
            gathered = dist_sync_fn(_joined(getattr(self, name), name).to(device), group=group)
            setattr(self, name, torch.cat(gathered).to(self.device))


def _joined(state: list[Tensor] | Tensor, name: str) -> Tensor:
    if isinstance(state, list) and not state:
        return _EMPTY[name]
    return dim_zero_cat(state)


def _device_of(group: Any | None) -> torch.device:
    """Return where tensors must lie to travel: NCCL moves only those of a GPU, gloo all those of the CPU."""
    if dist.is_available() and dist.is_initialized() and "nccl" in str(dist.get_backend(group)):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _on_first_process(score: Callable[[], dict[str, float]], group: Any | None) -> dict[str, float]:
    """Call `score` on the first process of the group (one Java) and return its answer, or its error, on all."""
    answer: list[Any] = [None, None]
    error: Exception | None = None
    if dist.get_rank(group) == 0:
        try:
            answer[0] = score()
        except Exception as raised:  # the others wait: they must hear of whatever it was
            error = raised
            answer[1] = f"{type(raised).__name__}: {raised}"
    dist.broadcast_object_list(answer, group=group, group_src=0, device=_device_of(group))
    if error is not None:
        raise error
    if answer[1] is not None:
        raise RuntimeError(f"the first process could not score the reports: {answer[1]}")
    return answer[0]
