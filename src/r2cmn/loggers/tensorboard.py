"""TensorBoard in the run folder."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

from r2cmn.files import expand_user


class TensorBoard(TensorBoardLogger):
    """TensorBoard event files in `tensorboard/` of the run folder.

    Args:
        save_dir: a folder; None: the run folder, outside of a run the current one.
        kwargs: further arguments of Lightning's TensorBoardLogger.

    Raises:
        ValueError: if TensorBoard is not installed.
    """

    def __init__(self, save_dir: str | None = None, **kwargs: Any) -> None:
        try:
            super().__init__(expand_user(save_dir or "."), name="tensorboard", version="", **kwargs)
        except ModuleNotFoundError as error:
            raise ValueError("TensorBoard is not installed: pip install 'r2cmn[tensorboard]'") from error
