"""One training run: its folder, identity, checkpoints, training and testing."""
