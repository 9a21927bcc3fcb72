"""Studies: grids, plans, tables and runs."""
