"""What models learn from besides the words of a report: tags, normal and abnormal sentences, templates.

All of it is made from reports alone. Results are plain data, which a checkpoint holds.
"""
