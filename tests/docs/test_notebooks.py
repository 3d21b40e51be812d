"""The notebooks: they define nothing, hold no outputs, and run on phantoms."""

import ast
import json
import os
import resource
import sys
from pathlib import Path

import pytest

from .commands import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_SECONDS = 240
"""Processor time; two cores have 360 seconds in three minutes."""


def code_of(path: Path) -> list[dict]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_defines_nothing_and_holds_no_output(path):
    cells = code_of(path)
    assert cells
    for cell in cells:
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        source = "".join(cell["source"]).replace("\\\n", "")
        lines = [line for line in source.splitlines() if not line.startswith(("!", "%"))]
        defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        assert not [node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, defined)]


@pytest.mark.slow
@pytest.mark.timeout(900)  # the machine may be busy: the limit is in processor time
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="pip install nbclient ipykernel")
    import nbformat

    (tmp_path / "home").mkdir()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name, folder in {"R2CMN_CACHE": "cache", "IPYTHONDIR": "home", "MPLCONFIGDIR": "home"}.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    notebook = nbformat.read(path, as_version=4)
    options = {"timeout": 800, "kernel_name": "python3", "resources": {"metadata": {"path": str(tmp_path)}}}
    nbclient.NotebookClient(notebook, **options).execute()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    texts = ["".join(output.get("text", "")) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [text for text in texts if "Traceback" in text or "command not found" in text]
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < MOST_SECONDS
