"""How long one person waits for the relay itself while nobody else is there."""
