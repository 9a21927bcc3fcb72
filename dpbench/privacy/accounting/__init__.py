"""Accounting: from a mechanism to epsilon, delta and the trade-off curve."""
