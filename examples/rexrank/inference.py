"""Entry point of a submission to ReXrank; the checkpoint is best.ckpt beside this file, or $R2CMN_CHECKPOINT.

python inference.py --input_json_file TEST_SET.json --save_json_file SUBMISSION.json --img_root_dir IMAGES
python inference.py TEST_SET.json SUBMISSION.json IMAGES            the order of the first round
"""

import argparse
import os
import sys
from pathlib import Path

from r2cmn.cli import main

NAMES = ("input_json_file", "save_json_file", "img_root_dir")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("files", nargs="*", help="the three in this order, instead of their names")
for name in NAMES:
    parser.add_argument(f"--{name}")
arguments = parser.parse_args()
if len(arguments.files) > len(NAMES):
    parser.error(f"at most {len(NAMES)} files: {' '.join(NAMES)}")
given = dict(zip(NAMES, arguments.files, strict=False))
found = {name: getattr(arguments, name) or given.get(name) for name in NAMES}
if missing := [name for name in NAMES if not found[name]]:
    parser.error(f"--{missing[0]} is missing")
checkpoint = os.environ.get("R2CMN_CHECKPOINT") or str(Path(__file__).with_name("best.ckpt"))
test_set, submission, images = found.values()
sys.argv = ["r2cmn", "generate", checkpoint, "--rexrank", test_set, submission, "--img-root-dir", images]
main()
