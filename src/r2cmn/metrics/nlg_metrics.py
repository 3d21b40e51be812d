"""BLEU, METEOR, ROUGE-L and CIDEr as a metric over all processes, each study counted once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from r2cmn.described import Described
from r2cmn.metrics.nlg import check_meteor, nlg_scores
from r2cmn.metrics.synced import SyncedMetric


class NLGMetrics(Described, SyncedMetric):
    """The scores of `nlg_scores` as a torchmetrics `Metric`, the same numbers on every process.

    Processes gather reports as UTF-8 bytes: torchmetrics does not gather lists of strings, and each process would score
    its own share. The scores are those of the corpus; the mean over batches or processes is another number.

        metrics = NLGMetrics(meteor=False)
        metrics.update(["no effusion ."], ["there is no effusion ."])
        metrics.compute()["BLEU_4"]

    Args:
        meteor: True computes METEOR or raises; False leaves it out (nan); "auto" computes it if it can.

    Raises:
        ValueError: if `meteor` is none of these.
    """

    empty: ClassVar[dict[str, Tensor]] = {
        "text": torch.zeros(0, dtype=torch.uint8),  # all bytes: generated, reference, generated, reference, ...
        "lengths": torch.zeros(0, 2, dtype=torch.int64),  # (B, 2), bytes of the generated report and of its reference
    }

    text: list[Tensor] | Tensor
    lengths: list[Tensor] | Tensor

    def __init__(self, meteor: Literal["auto"] | bool = "auto") -> None:
        super().__init__()
        check_meteor(meteor)
        self.meteor = meteor

    def reports(self) -> list[tuple[int, str, str]]:
        """Return (index, generated, reference) of every study once, ordered by index.

        Collective: call it on every process. The state does not change.
        """
        return self._together(self._reports)

    def _states(self, generated: Sequence[str], references: Sequence[str]) -> dict[str, Tensor]:
        pairs = [[text.encode(errors="replace") for text in pair] for pair in zip(generated, references, strict=True)]
        text = bytearray(b"".join(part for pair in pairs for part in pair))
        lengths = torch.tensor([[len(part) for part in pair] for pair in pairs], dtype=torch.int64).view(-1, 2)
        return {"text": torch.frombuffer(text, dtype=torch.uint8) if text else self.empty["text"], "lengths": lengths}

    def _scores(self) -> dict[str, float]:
        reports = self._reports()
        return nlg_scores([report[1] for report in reports], [report[2] for report in reports], self.meteor)

    def _reports(self) -> list[tuple[int, str, str]]:
        state = self._state()
        text, lengths, index = state["text"].numpy().tobytes(), state["lengths"], state["index"].tolist()
        ends = lengths.flatten().cumsum(0).view(-1, 2).tolist()
        found = []
        for place in self._places():
            middle, end = ends[place]
            start = middle - int(lengths[place, 0])
            found.append((index[place], text[start:middle].decode(), text[middle:end].decode()))
        return found
