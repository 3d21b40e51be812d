"""The Hydra launcher `pool`: runs each trial of a sweep as its own process on its own GPUs.

Hydra imports every module of `hydra_plugins` at each start, so nothing here imports torch.
"""

# annotations are not postponed: Hydra executes this file before it is in sys.modules, where dataclass looks them up

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from r2cmn.sweeps import launcher


@dataclass
class PoolLauncherConfig:
    """The options `hydra.launcher` of `hydra/launcher=pool`.

    Attributes:
        gpus: `auto` (CUDA_VISIBLE_DEVICES, else nvidia-smi, else none) or a list of GPU numbers; [] for none.
        gpus_per_trial: number of GPUs of a trial.
        trials_per_gpu: number of trials at once on each GPU, each with its share of the memory.
        num_trials: number of trials at once without GPUs (null: 1); with GPUs, an upper limit.
        threads_per_trial: OMP_NUM_THREADS of a trial; null: the user's, else the cores by the trials at once.
        retries: number of further starts of a failed trial.
        grace_s: seconds between the signal that stops a trial and SIGKILL.
    """

    _target_: str = "hydra_plugins.r2cmn_pool_launcher.PoolLauncher"
    gpus: Any = "auto"
    gpus_per_trial: int = 1
    trials_per_gpu: int = 1
    num_trials: int | None = None
    threads_per_trial: int | None = None
    retries: int = 0
    grace_s: float = 30.0


class PoolLauncher(launcher.PoolLauncher):
    """The launcher, defined in `hydra_plugins`, where Hydra expects the class of a plugin."""


ConfigStore.instance().store(group="hydra/launcher", name="pool", node=PoolLauncherConfig, provider="r2cmn")
