"""Whether an event costs more when ten million lie before it."""
