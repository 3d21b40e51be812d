"""Reports and images: tokenizer, data sets and data modules."""
