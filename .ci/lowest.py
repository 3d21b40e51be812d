"""Prints `name==version` of the lowest versions that pyproject.toml admits, for `pip install -c`.

With `--upper NAME...`, prints the limits of these packages instead, without spaces, for `pip install`.
"""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
requirements = project["dependencies"] + project["optional-dependencies"]["dev"]
wanted = sys.argv[2:] if sys.argv[1:2] == ["--upper"] else None
for requirement in requirements:
    name, limits = re.fullmatch(r"([\w.-]+)(?:\[.*\])?\s*(.*)", requirement).groups()
    lowest = re.search(r">=([\w.]+)", limits)
    if wanted is not None:
        if name in wanted:
            print(f"{name}{limits}".replace(" ", ""))
    elif lowest:
        print(f"{name}=={lowest[1]}")
