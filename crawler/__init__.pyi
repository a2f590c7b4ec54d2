from .db.connection import open_reading as open_reading
from .db.database import DatabaseError as DatabaseError
from .reports.answers import REPORTS as REPORTS
from .reports.answers import report as report
from .reports.answers import report_summary as report_summary
from .reports.report import NoAnswer as NoAnswer
from .reports.report import Report as Report
from .reports.report import ReportAnswer as ReportAnswer
