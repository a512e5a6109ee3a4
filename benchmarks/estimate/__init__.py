"""How right the relay is about when a job will end."""
