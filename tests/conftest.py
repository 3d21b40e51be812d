"""Where the material outside the repository lies, a seed for every test, and small data sets drawn on the spot."""

import gc
import hashlib
import json
import multiprocessing.forkserver
import os
import runpy
import struct
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tests run side by side (pytest -n 2)

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from r2cmn import build, cli

gc.disable()  # until the tests are collected: nothing that is imported becomes garbage

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("R2CMN_SHARED", ROOT.parent / "shared"))


def pytest_collection_finish() -> None:
    """Let the garbage collector skip the modules and the tests, a million objects, from now on."""
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()


@pytest.fixture(autouse=True)
def _no_leftover_of_hydra():
    """Remove what `r2cmn train` in this process has set: other programs would print tracebacks."""
    os.environ.pop("HYDRA_FULL_ERROR", None)


@pytest.fixture(autouse=True)
def _seed():
    import torch  # here and below: the process that hands tests to the workers of pytest-xdist needs none of these

    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Keep what is remembered of checked images out of the user's folder."""
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _own_allowed_targets(monkeypatch):
    """Let no test see the packages that another one, or a configuration that it checked, has allowed."""
    monkeypatch.setattr("r2cmn.build._ALLOWED", list(build._ALLOWED))


def _make_dataset(dir: Path, num_studies: int = 12, num_views: int = 2, size: int = 64) -> Path:
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    sentences = [
        "The lungs are clear.",
        "The heart is enlarged.",
        "There is a small effusion on the left.",
        "No pneumothorax is seen.",
        "The spine is bent.",
    ]
    annotation: dict[str, list[dict]] = {"train": [], "val": [], "test": []}
    num_held_out = max(1, num_studies // 4)
    for number in range(num_studies):
        split = "test" if number < num_held_out else "val" if number < 2 * num_held_out else "train"
        paths = [f"study_{number}/{view}.png" for view in range(num_views)]
        for path in paths:
            file = dir / "images" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (size, size), dtype=np.uint8)).save(file)
        report = " ".join(generator.choice(sentences, size=3, replace=False).tolist())
        annotation[split].append({"id": f"study_{number}", "report": report, "image_path": paths, "split": split})
    (dir / "annotation.json").write_text(json.dumps(annotation))
    return dir


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Path]:
    """Return `make_dataset(dir, num_studies=12, num_views=2, size=64)`, which writes a data folder and returns it."""
    return _make_dataset


@pytest.fixture
def tiny_dataset(tmp_path) -> Path:
    """A data folder of 6 train, 3 val and 3 test studies, two views of 64 x 64 each."""
    return _make_dataset(tmp_path / "tiny")


def _make_dicom(path, stored, bits=12, photometric="MONOCHROME2", syntax=None, data=None, **tags):
    """Write a radiograph, with a patient whom nobody may hear of."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Zyxwv^Patient", "Zyxwv-123", "19000101"
    dataset.Modality = "DX"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 if bits <= 8 else 16, bits, bits - 1
    dataset.PixelRepresentation = 1 if stored.dtype.kind == "i" else 0
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.PixelData = stored.tobytes() if data is None else encapsulate([data])
    if data is not None:
        dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(scope="session")
def make_dicom() -> Callable[..., Path]:
    """Return `make_dicom(path, stored, bits=12, photometric="MONOCHROME2", syntax, data, **tags)`, which returns path.

    `data` is a compressed image to be put in place of `stored`, of the transfer syntax `syntax`.
    """
    pytest.importorskip("pydicom", reason="pip install 'r2cmn[dicom]'")
    return _make_dicom


@pytest.fixture(scope="session")
def iu_xray_dir() -> Path:
    """The real IU X-Ray set, or skip with the reason."""
    path = Path(os.environ.get("R2CMN_DATA", SHARED / "data" / "iu_xray"))
    if not (path / "annotation.json").is_file():
        pytest.skip(f"the real IU X-Ray set is not at {path}: set R2CMN_DATA to its folder")
    return path


@pytest.fixture(scope="session")
def openi_reports() -> Path:
    """The report archive of Open-i, or skip with the reason."""
    path = SHARED / "data" / "openi" / "NLMCXR_reports.tgz"
    if not path.is_file():
        pytest.skip(f"Open-i's archive is not at {path}: set R2CMN_SHARED to the folder that holds data/openi/")
    return path


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Arrays recorded from the released code, or skip with the reason."""
    path = SHARED / "golden"
    if not (path / "README.md").is_file():
        pytest.skip(f"the recorded arrays are not at {path}: set R2CMN_SHARED to the folder that holds golden/")
    return path


def pytest_generate_tests(metafunc) -> None:
    """Run what uses `golden_case` with every folder of golden/ that the module's RECORDINGS, a glob pattern, names."""
    if "golden_case" in metafunc.fixturenames:
        folders = sorted((SHARED / "golden").glob(metafunc.module.RECORDINGS))
        metafunc.parametrize("golden_case", folders, ids=lambda path: path.name, scope="module", indirect=True)


@pytest.fixture(scope="module")
def golden_case(request) -> SimpleNamespace:
    """What was recorded of a system: `meta`, `arrays`, `grads` as tensors, and the released `weights`."""
    import numpy as np
    import torch

    def tensors(name):
        with np.load(request.param / name) as file:
            return {key: torch.from_numpy(file[key]) for key in file.files}

    path = request.param / "model_best.pth"
    return SimpleNamespace(
        path=path, meta=json.loads((request.param / "meta.json").read_text()), arrays=tensors("arrays.npz"),
        grads=tensors("grads.npz"), weights=torch.load(path, weights_only=True)["state_dict"],
    )  # fmt: skip


@pytest.fixture(scope="session")
def paper_text() -> str:
    """The paper as text, or skip with the reason."""
    path = SHARED / "paper" / "cmn_acl2021.md"
    if not path.is_file():
        pytest.skip(f"the paper's text is not at {path}: set R2CMN_SHARED to the folder that holds paper/")
    return path.read_text()


def _wandb_records(file: Path) -> list:
    """All records of a run's binary file; on a busy machine W&B writes them a moment after the run has finished."""
    until = time.monotonic() + 30
    while not any(record.HasField("run") for record in _read_records(file)):
        assert time.monotonic() < until, f"{file} was not understood"
        time.sleep(0.1)
    return _read_records(file)


def _read_records(file: Path) -> list:
    """Read a log of LevelDB: blocks of 32 KiB, 7 bytes before every piece."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, found, whole = file.read_bytes(), 7, [], b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768  # too little room for a piece is filled with zeros
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        if place + 7 + length > len(content):
            break  # a piece of which the rest is not written yet
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            found.append(Record.FromString(whole))
            whole = b""
    return found


def _flat(items) -> dict:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def _wandb_run(folder: Path) -> SimpleNamespace:
    (file,) = folder.glob("*.wandb")
    records = _wandb_records(file)
    of = {
        kind: [getattr(r, kind) for r in records if r.HasField(kind)]
        for kind in ("run", "config", "history", "summary", "stats", "artifact", "exit", "environment")
    }
    run = of["run"][-1]
    return SimpleNamespace(
        folder=folder, id=run.run_id, group=run.run_group, job_type=run.job_type, name=run.display_name,
        tags=list(run.tags), host=run.host, history=[_flat(row.item) for row in of["history"]],
        config=_flat(item for config in of["config"] for item in config.update),
        summary=_flat(item for summary in of["summary"] for item in summary.update),
        system={key for stats in of["stats"] for key in _flat(stats.item)}, artifacts=of["artifact"],
        exit_code=of["exit"][-1].exit_code if of["exit"] else None, environment=of["environment"],
    )  # fmt: skip


@pytest.fixture(scope="session")
def wandb_runs() -> Callable[[Path], list[SimpleNamespace]]:
    """Return what reads back, from its binary files, what W&B kept offline in a run folder: one item a start."""
    return lambda folder: [_wandb_run(path) for path in sorted((folder / "wandb").glob("offline-run-*"))]


def _processes_of(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="session")
def processes_of() -> Callable[[Path], list[int]]:
    """Return what finds the processes, zombies aside, whose command line names a folder."""
    return _processes_of


def _weights(run: Path) -> tuple[str, int, int]:
    import torch

    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    digest = hashlib.sha256()
    for name, value in sorted(content["state_dict"].items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest(), content["epoch"], content["global_step"]


@pytest.fixture(scope="session")
def weights() -> Callable[[Path], tuple[str, int, int]]:
    """Return what reads the newest checkpoint of a run: a hash of its weights, epochs, steps."""
    return _weights


@pytest.fixture
def call_r2cmn(monkeypatch, capfd) -> Callable[..., SimpleNamespace]:
    """Return what runs `r2cmn ...` in this process: exit status, stdout and stderr."""

    def call(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["r2cmn", *map(str, arguments)])
        capfd.readouterr()
        code: object = 0
        umask = os.umask(0o022)
        os.umask(umask)
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            os.umask(umask)  # a run of private data sets it
        out, err = capfd.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return call


PRELOADED = ["pytest", "r2cmn.cli", "r2cmn.runs.training", "r2cmn.data.datamodule", "r2cmn.sweeps.settings", "timm"]


@pytest.fixture(scope="session")
def fork_context() -> Iterator[multiprocessing.context.ForkServerContext]:
    """The context of processes that are forked from a server that has imported torch and Lightning, and ran nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    yield context
    multiprocessing.forkserver._forkserver._stop()  # waits: its processor time is that of the tests


@pytest.fixture(scope="session")
def start_r2cmn(fork_context) -> Callable[..., multiprocessing.context.ForkServerProcess]:
    """Return what starts `r2cmn ...` in a process of its own session, without seconds of imports.

    `start_r2cmn(*arguments, out=FILE, err=None, environment=None, cwd=None)` appends stdout and stderr to files. A
    subprocess is needed if the command line starts itself again (sweeps, DDP), or for another hash seed of Python.
    """

    def start(*arguments: object, out: Path, err: Path | None = None, environment: dict | None = None, cwd=None):
        options = {
            "arguments": [str(argument) for argument in arguments], "cwd": str(cwd or Path.cwd()), "out": str(out),
            "err": str(err or out), "environment": dict(os.environ if environment is None else environment),
        }  # fmt: skip
        script = str(Path(__file__).with_name("forked.py"))
        given = {"init_globals": {"options": options}}
        process = fork_context.Process(target=runpy.run_path, args=(script,), kwargs=given)
        process.start()
        return process

    return start


@pytest.fixture(scope="session")
def run_r2cmn(start_r2cmn, tmp_path_factory) -> Callable[..., SimpleNamespace]:
    """Return what runs `r2cmn ...` with `start_r2cmn` and waits for its exit status, stdout and stderr."""

    def run(*arguments: object, **options: object) -> SimpleNamespace:
        folder = tmp_path_factory.mktemp("streams")
        out, err = folder / "out", folder / "err"
        process = start_r2cmn(*arguments, out=out, err=err, **options)
        try:
            process.join(280)
        finally:
            process.kill()
            process.join()
        return SimpleNamespace(code=process.exitcode, out=out.read_text(), err=err.read_text())

    return run
