"""The relay's chain beside those that others would build: plain aiokafka, FastStream, Celery."""
