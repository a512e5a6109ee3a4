"""What people do with the log: look at what waits for them, and decide.

Knows held prompts and dead letters. Refuses to change what was written: a decision is an event.
"""
