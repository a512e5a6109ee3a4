"""Whether the relay stays as it is for half an hour under load: memory, open files, lag."""
