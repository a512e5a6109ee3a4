"""How fast and how well prompts are heard."""
