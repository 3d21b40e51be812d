"""The sub-commands of `r2cmn`, one module each."""
