"""From what the owners of a collection distribute to a data folder of r2cmn: annotation.json, images/, a manifest."""
