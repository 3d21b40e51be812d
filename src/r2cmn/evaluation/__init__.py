"""Scoring of reports, whoever wrote them: protocols, intervals, baselines, tables and a page."""
