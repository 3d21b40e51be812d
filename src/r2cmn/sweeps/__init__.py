"""Many runs: launching, resuming, searching and collecting results."""
