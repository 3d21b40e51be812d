"""Records what the command line of r2cmn does, to compare two versions of the code.

    python -m tests.behavior record OUT.json --work FOLDER [--only main,sweep] [--old FOLDER]
    python -m tests.behavior compare A.json B.json

Run both from the root of the repository. `record` works in FOLDER, which must be empty or new, and keeps everything in
it: data, runs, checkpoints, a finished sweep and a killed one. It calls `python -m r2cmn` in subprocesses and reads the
files that these leave; it imports nothing of r2cmn, so that the same script runs before and after a refactoring.
`compare` prints each difference by its key and exits with 1 if there is any.

Sections, each of which can be recorded alone:

| section | records |
|---|---|
| `main` | a small training run: metrics, weights, predictions, scores, configuration, files |
| `sweep` | a sweep of two trials, killed with SIGKILL in its second trial, then resumed |
| `evaluate` | scores of a predictions file, with a baseline, as JSON and HTML |
| `audit` | the audit of a drawn data folder |
| `prepare` | IU X-Ray from an invented archive, and from Open-i's if it is in $R2CMN_SHARED (hashes only) |
| `results` | tables, figures and page of the sweep |
| `released` | a released checkpoint imported, exported and used (needs $R2CMN_SHARED/golden) |
| `generate` | reports written with the trained checkpoint |
| `old` | with --old: checkpoints and the killed sweep of an earlier FOLDER, used by the code of today |

`results` needs the sweep and `generate` the main run; these run first if the folder lacks them.

Each section has two parts. `structure` holds what no machine changes: file names, keys, headings. `values` holds
numbers, hashes and generated text, equal only on the same machine with the same libraries. `tests/test_behavior.py`
compares the structure of the fast sections with `expected.json`. To renew that file after an intended change:

    python -m tests.behavior record OUT.json --work FOLDER --only main,sweep,evaluate,audit,prepare,generate
    python -m tests.behavior structure OUT.json tests/behavior/expected.json

Left out, because they differ between two runs of the same code or between commits: durations, speeds and dates, process
ids, absolute paths (replaced by WORK), the fingerprint of the code, the commit, dotted names of classes (`_target_`),
temporary files of a killed process, and the best epoch in a checkpoint's file name (in `structure` only).
"""
