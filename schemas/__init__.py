"""The language of the relay: events, the topics they belong to, the states a job passes through.

Knows names, shapes and versions. Refuses to know how events travel, who reads them, or any key.
"""
