"""Runs a command line of r2cmn in a process that was forked after the imports; see `start_r2cmn` in conftest.py.

It has its own session, environment, working directory and streams, as if it had been started from a shell.
"""

import atexit
import multiprocessing
import os
import signal
import sys

from r2cmn.cli import main

options = globals()["options"]  # from runpy.run_path
atexit._clear()  # what the server shall do at its own end, such as removing a temporary folder of all processes
multiprocessing.set_start_method(None, force=True)  # the platform's default, not the server's
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in background jobs
os.setsid()
os.environ.clear()
os.environ.update(options["environment"])
os.chdir(options["cwd"])
sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
sys.argv = ["r2cmn", *options["arguments"]]
for number, path in enumerate((os.devnull, options["out"], options["err"])):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644), number)
try:
    main()
finally:
    atexit._run_exitfuncs()  # multiprocessing skips them
