"""The doors: one module for each, all of them thin.

A door reads a request, calls what the gateway hands it, and shows the outcome.
"""
