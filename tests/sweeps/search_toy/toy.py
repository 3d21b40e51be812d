"""A Hydra application without torch, for test_sweeper.py."""

import json
import os
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config):
    directory = Path(HydraConfig.get().runtime.output_dir)
    now = {"began": time.time(), "study": os.environ.get("R2CMN_STUDY"), "pid": os.getpid()}
    deadline = time.monotonic() + config.seconds
    (directory / "began.json").write_text(json.dumps(now))
    while time.monotonic() < deadline or (config.gate and not Path(config.gate).exists()):
        time.sleep(0.02)
    if config.act == "raise":
        raise ValueError("no such word")
    result = {"overrides": sorted(HydraConfig.get().overrides.task), "objective": config.m.n - config.m.k - config.lr}
    if config.prune_above is not None and config.m.k > config.prune_above:
        result["pruned"] = True
    (directory / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
