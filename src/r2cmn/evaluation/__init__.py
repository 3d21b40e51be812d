"""What reports are worth: scores under named protocols, intervals, baselines, tables and a page."""
