"""Scoring of reports, whoever wrote them: files in, a result with protocols, intervals, tables and a page out."""
