"""What sweeps found: trials as a table, means over seeds with tests, the paper's figures and Table 2, one page."""
