"""Fair tuning: as many trials for every defense, on data that no evaluated model has seen."""
