"""The papers' tables: run again under their own protocols, beside the published numbers."""

from counterpoise.studies.reproduce.page import closeness as closeness
from counterpoise.studies.reproduce.page import verdicts as verdicts
from counterpoise.studies.reproduce.plan import study_commands as study_commands
from counterpoise.studies.reproduce.summary import TableSummary as TableSummary
