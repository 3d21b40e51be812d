"""Hydra's sweeper, which also writes the returns of the trials to values.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore


class RecordingSweeper(BasicSweeper):
    def sweep(self, arguments):
        returns = super().sweep(arguments)
        values = [[r.return_value, r.hydra_cfg.hydra.runtime.output_dir, r.cfg.x] for batch in returns for r in batch]
        Path(self.config.hydra.sweep.dir, "values.json").write_text(json.dumps(values), encoding="utf-8")
        return returns


@dataclass
class RecordingSweeperConfig:
    _target_: str = "hydra_plugins.recording_sweeper.RecordingSweeper"
    max_batch_size: Any = None
    params: Any = None


ConfigStore.instance().store(group="hydra/sweeper", name="recording", node=RecordingSweeperConfig)
