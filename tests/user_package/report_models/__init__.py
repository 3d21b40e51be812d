"""A package as a user of r2cmn writes it: an encoder-decoder, a memory and an objective, one file each."""
