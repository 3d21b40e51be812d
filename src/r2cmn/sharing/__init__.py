"""Models in folders that others can load: written, read, pushed to a hub, and exported as graphs."""
