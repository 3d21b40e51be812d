"""The Hydra launcher `pool`: runs each trial of a sweep as its own process on its own GPUs.

Hydra imports every module of `hydra_plugins` at each start, so nothing here imports torch.
"""

# Annotations are not postponed: Hydra executes this file before it is in sys.modules, where dataclass would look.

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from r2cmn.sweeps import launcher


@dataclass
class PoolLauncherConfig:
    """The values of `hydra.launcher` with `hydra/launcher=pool`.

    Attributes:
        gpus: `auto` (CUDA_VISIBLE_DEVICES, else nvidia-smi, else none) or a list of GPU numbers; [] for none.
        gpus_per_trial: How many GPUs a trial sees.
        num_trials: How many trials run at once without GPUs (null: 1); with GPUs, at most so many.
        threads_per_trial: OMP_NUM_THREADS of a trial; null: the cores shared out over the trials at once.
        retries: How often a failed trial is started again.
        grace_s: Seconds between the signal that stops a trial and its being killed.
        command: What the Python interpreter is given to start the application.
        fingerprint: The function that says of a trial's configuration which trial it is; asked only where the
            application's configuration has a node `sweep`. null: its overrides say so.
    """

    _target_: str = "hydra_plugins.r2cmn_pool_launcher.PoolLauncher"
    gpus: Any = "auto"
    gpus_per_trial: int = 1
    num_trials: int | None = None
    threads_per_trial: int | None = None
    retries: int = 0
    grace_s: float = 30.0
    command: list[str] = field(default_factory=lambda: ["-m", "r2cmn", "train"])
    fingerprint: str | None = "r2cmn.runs.fingerprint.fingerprint"


class PoolLauncher(launcher.PoolLauncher):
    """The launcher under the name that Hydra accepts: a plugin class must be defined in `hydra_plugins`."""


ConfigStore.instance().store(group="hydra/launcher", name="pool", node=PoolLauncherConfig, provider="r2cmn")
