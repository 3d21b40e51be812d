"""Makes data folders from the downloads of public collections and from tables of own studies."""
