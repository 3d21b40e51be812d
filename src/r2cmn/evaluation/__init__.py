"""What a score is worth: baselines, and everything else that is said of reports that were written."""
