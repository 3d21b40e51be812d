"""Scores of generated reports."""
