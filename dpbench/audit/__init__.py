"""Auditing scores that were made elsewhere: `dpbench.audit.score_file.audit_rows`."""
