"""The counter-measures, one folder per place where one can act."""
