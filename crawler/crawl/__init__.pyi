from . import census as census
from . import explanation_text as explanation_text
from .census import Census as Census
from .census import Progress as Progress
from .census import take_census as take_census
from .findings import Findings as Findings
from .findings import compute_findings as compute_findings
