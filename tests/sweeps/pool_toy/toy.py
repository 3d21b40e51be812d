"""A Hydra application without torch that fails on demand, for test_launcher.py."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config):
    directory = Path(HydraConfig.get().runtime.output_dir)
    attempts = len(list(directory.glob("start-*.json")))
    start = {
        key: os.environ.get(key)
        for key in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "R2CMN_SWEEP", "R2CMN_GPU_SHARE")
    }
    start["stdin"] = sys.stdin.read()
    start |= {"pid": os.getpid(), "x": config.x, "deep": config.extra.deep, "job": HydraConfig.get().job.name}
    start["num"] = HydraConfig.get().job.num
    if config.act in ("wait", "stubborn"):
        start["rank"] = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"]).pid
    if config.act == "stubborn":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("begin of", config.act)
    start["began"] = time.time()
    time.sleep(config.seconds)
    start["ended"] = time.time()
    (directory / f"start-{attempts}.json").write_text(json.dumps(start))
    if config.act in ("wait", "stubborn"):
        time.sleep(120)
    if config.act == "raise" or (config.act == "once" and attempts == 0):
        raise ValueError("no such word")
    if config.act == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if config.act != "quiet":
        result = {"overrides": sorted(HydraConfig.get().overrides.task), "objective": config.x * 2.0}
        (directory / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
