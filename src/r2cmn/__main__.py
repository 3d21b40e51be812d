"""`python -m r2cmn`, the same as the command `r2cmn`."""

from r2cmn.cli import main

if __name__ == "__main__":
    main()
