"""Live figures over the topics: counted exactly, shown where people look, exported for questions.

Knows events as strangers see them. Refuses to open a personal field: it has no key to.
"""
