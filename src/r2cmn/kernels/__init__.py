"""Faster CPU and GPU implementations of single operations."""
