"""The spine: what carries events between stages, and what every stage leans on.

Knows logs, objects, keys, rows and retries. Refuses to know what any event means.
"""
