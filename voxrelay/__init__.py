"""The command, and composition: the one place that may import all.

Knows which stages there are and how they run together. Refuses to know what any of them does.
"""
