"""What can go wrong with a server we start: a tool is missing, or the server will not run."""


class ToolMissing(Exception):
    """The machine lacks something a server needs (Java, Go, PostgreSQL's programs)."""


class ServerFailed(Exception):
    """A server ended or did not answer in time. The message carries the end of its log."""
