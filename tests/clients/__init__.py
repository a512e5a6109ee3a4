"""Clients, against a real gateway."""
