from . import census_progress as census_progress
from . import explanation_text as explanation_text
from .census import Census as Census
from .census import take_census as take_census
from .census_progress import Progress as Progress
from .findings import Findings as Findings
from .findings import compute_findings as compute_findings
