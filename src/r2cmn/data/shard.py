"""The file format of what is computed once: rows of numbers one behind the other, to be mapped into memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Shard(NamedTuple):
    """Rows of one type and number of dimensions, one behind the other.

    Attributes:
        values: flat, any type.
        shapes: (rows, dimensions) int64.
        ends: (rows + 1,) int64, where each row begins and ends.
    """

    values: Tensor
    shapes: Tensor
    ends: Tensor

    @classmethod
    def of(cls, rows: Sequence[Tensor]) -> Shard:
        """Put rows one behind the other."""
        return cls._of(torch.cat([row.flatten() for row in rows]), torch.tensor([row.shape for row in rows]))

    @classmethod
    def open(cls, path: Path) -> Shard:
        """Map a file that `write` wrote; what is read of it is shared by all processes.

        Raises:
            OSError, ValueError: where the file is missing or not whole.
        """
        size = path.stat().st_size
        with path.open("rb") as file:
            shapes = np.lib.format.read_array(file, allow_pickle=False)
            np.lib.format.read_magic(file)
            (length,), _, dtype = np.lib.format.read_array_header_1_0(file)
            start, end = file.tell(), file.tell() + length * dtype.itemsize
        if end != size:
            raise ValueError(f"{path} has {size} bytes instead of {end}")
        # not numpy.memmap, which keeps a file descriptor open for each of hundreds of files
        content = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
        kind = torch.from_numpy(np.empty(0, dtype)).dtype
        return cls._of(content[start:].view(kind), torch.from_numpy(shapes))

    @classmethod
    def _of(cls, values: Tensor, shapes: Tensor) -> Shard:
        return cls(values, shapes, torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)]))

    def write(self, path: Path) -> None:
        """Write a file whole or not at all: shapes and values, two arrays in numpy's format."""
        part = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False)  # noqa: SIM115
        try:
            with part:
                np.save(part, self.shapes.numpy())
                np.save(part, self.values.numpy())
                part.flush()
                os.fsync(part.fileno())
            Path(part.name).replace(path)
        finally:
            Path(part.name).unlink(missing_ok=True)

    def row(self, number: int) -> Tensor:
        """Return one row, which is not to be written to."""
        start, end = self.ends[number : number + 2].tolist()
        return self.values[start:end].view(*self.shapes[number].tolist())
