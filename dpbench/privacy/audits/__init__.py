"""Audits: lower bounds on epsilon from what attacks found."""
