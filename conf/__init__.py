"""The configuration of r2cmn, values only; `hydra.searchpath: [pkg://r2cmn.conf]` adds it to an own application."""
