"""How fast a replay judges again, beside a reader that only decodes; and whether memory is flat."""
