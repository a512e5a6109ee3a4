"""What people do with the log: look at what waits for them, decide, and show what was done.

Knows held prompts, dead letters, trails and evidence. Refuses to change what was written: a
decision is an event.
"""
