"""Figures, tables and the page of a finished run. Reads result tables only."""

from dpbench.report.render import render as render
from dpbench.report.results import Results as Results
