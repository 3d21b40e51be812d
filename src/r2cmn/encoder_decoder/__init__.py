"""Encoder-decoders, one file a published model."""
