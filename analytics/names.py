"""What the workers that count on Kafka are called there.

Knows names. Refuses to import the framework that they run in.
"""

GROUP = "voxrelay-analytics"
"""Their consumer group; it also begins the names of their transactions."""
TABLE = "rows"
CHANGES = f"{GROUP}-{TABLE}-changelog"
"""The compacted topic that holds the rows: the latest of a key is the row."""
