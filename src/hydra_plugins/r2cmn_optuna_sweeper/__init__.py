"""The Hydra sweeper `r2cmn_optuna`: a search over values with Optuna, pruned and resumable.

Hydra executes every module of `hydra_plugins` at each start, except those whose name begins with an underscore: what
needs Optuna lies in such modules, and nothing here imports torch.
"""

STUDY_VARIABLE = "R2CMN_STUDY"
"""The environment variable that tells a trial's process which study it belongs to, as JSON."""

RUNNING_LOCK = "running.lock"
"""The file in the folder of a trial that its process keeps locked."""
