"""The launcher `pool` for the applications of these tests: starts toy.py, and identifies a trial by three values."""

import os
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore

from hydra_plugins.r2cmn_pool_launcher import PoolLauncherConfig
from r2cmn.sweeps import launcher


class ToyLauncher(launcher.PoolLauncher):
    command = ("toy.py",)

    def identify(self, config):
        parts = {"config": f"{config.act} {config.x}", "data": "", "code": os.environ.get("TOY_CODE", "1")}
        return {"fingerprint": "/".join(parts.values()), "parts": parts, "version": "1"}


@dataclass
class ToyLauncherConfig(PoolLauncherConfig):
    _target_: str = "hydra_plugins.toy_launcher.ToyLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="toy", node=ToyLauncherConfig)
