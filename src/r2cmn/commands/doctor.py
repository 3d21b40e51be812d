"""`r2cmn doctor`: installed packages, devices, Java, accounts and folders, with advice on what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from r2cmn.files import cache_dir, expand_user

PACKAGES = (
    "r2cmn", "torch", "torchvision", "timm", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf",
    "pycocoevalcap", "wandb", "tensorboard", "pydicom", "optuna", "wandb-workspaces", "pandas", "scipy", "matplotlib",
    "pyarrow",
)  # fmt: skip
EXTRAS = {
    "tensorboard": "tensorboard", "pydicom": "dicom", "optuna": "optuna", "wandb-workspaces": "dashboard",
    **dict.fromkeys(("pandas", "scipy", "matplotlib", "pyarrow"), "results"),
}  # fmt: skip
"""Optional packages and the extra that installs each."""


def findings() -> list[tuple[str, str, str]]:
    """Return rows (item, what was found, advice or an empty string) for everything that a run may need."""
    rows = [("Python", platform.python_version(), "")]
    for name in PACKAGES:
        try:
            rows.append((name, importlib.metadata.version(name), ""))
        except importlib.metadata.PackageNotFoundError:
            extra = f"r2cmn[{EXTRAS[name]}]" if name in EXTRAS else name
            rows.append((name, "missing", f"pip install '{extra}'"))
    return [*rows, *_devices(), _java(), _wandb(), _iu_xray(), _cache()]


def _devices() -> list[tuple[str, str, str]]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    found = ", ".join(gpus) or "none"
    advice = "" if gpus else "training runs on the CPU: small trunks, or frozen ones"
    return [("CPU cores", str(os.cpu_count()), ""), ("GPUs", found, advice)]


def _java() -> tuple[str, str, str]:
    java = shutil.which("java")
    if java is None:
        return ("Java (METEOR)", "missing", "METEOR reads n/a without it: install a Java runtime, version 8 or newer")
    try:
        done = subprocess.run(
            [java, "-version"], capture_output=True, encoding="utf-8", errors="replace", timeout=20, check=True
        )
    except (subprocess.SubprocessError, OSError):  # on some systems `java` is a stub that only prints an error
        return ("Java (METEOR)", f"{java} does not answer", "METEOR reads n/a: repair the Java installation")
    return ("Java (METEOR)", next(iter(done.stderr.splitlines()), java), "")


def _wandb() -> tuple[str, str, str]:
    known = "WANDB_API_KEY" in os.environ or "api.wandb.ai" in (_text(expand_user("~/.netrc")))
    return (
        "W&B account",
        "found" if known else "none",
        "" if known else "logger=wandb keeps runs offline; wandb login",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _iu_xray() -> tuple[str, str, str]:
    folder = os.environ.get("R2CMN_DATA")
    if not folder:
        return (
            "IU X-Ray",
            "R2CMN_DATA is not set",
            "data=iu_xray needs data.dir=PATH or R2CMN_DATA=PATH; data=phantom needs nothing",
        )
    if not (Path(folder) / "annotation.json").is_file():
        return (
            "IU X-Ray",
            f"no annotation.json in {folder}",
            "set R2CMN_DATA to the folder with annotation.json and images/",
        )
    return ("IU X-Ray", folder, "")


def _cache() -> tuple[str, str, str]:
    folder = cache_dir()
    parent = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(parent).free / 2**30
    writable = os.access(parent, os.W_OK)
    return ("Cache folder", f"{folder} ({free:.0f} GiB free)", "" if writable else "not writable: set R2CMN_CACHE=PATH")


def print_findings() -> None:
    """Print the findings as a table."""
    table = Table(title="r2cmn doctor", title_justify="left")
    for column in ("what", "found", "advice"):
        table.add_column(column, overflow="fold")
    for row in findings():
        table.add_row(*row)
    Console().print(table)
