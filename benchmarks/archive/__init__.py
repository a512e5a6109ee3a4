"""How fast an archived hour is read beside the topics, and what it takes to archive one."""
