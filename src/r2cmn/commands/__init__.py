"""The sub-commands of `r2cmn`, one file each."""
