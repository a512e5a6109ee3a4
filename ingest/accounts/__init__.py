"""Accounts: who signs in, what their token or key lets them do, and how that ends."""
