"""The bridge between an edge (the embedded relay in a shop, a school, a kiosk) and its cluster.

Knows two logs and two stores: jobs go up, their outcomes and audio come down, each once. The
embedded log is the edge's spool, and positions lie in the log that is appended to. Refuses to know
stages and doors.
"""
