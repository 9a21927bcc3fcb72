"""Audits: lower bounds on epsilon from the results of attacks."""
