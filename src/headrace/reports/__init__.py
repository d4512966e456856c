"""What a batch leaves behind: the output folder, the results file and the report.

A caller prepares an ``OutputFolder`` before anything is bought; at the end it walks the
rows once, in ascending order, and for each asks ``FileNames`` for the stem, publishes the
artifact, and yields a ``ResultRow`` to the ``ResultsWriter``.
"""

from headrace.reports.delivery import Delivery, delivery_of
from headrace.reports.filenames import FileNames
from headrace.reports.folder import OutputFolder
from headrace.reports.results import (
    OWN_COLUMNS,
    ResultRow,
    ResultsText,
    ResultsWriter,
    write_report,
)

__all__ = [
    "OWN_COLUMNS",
    "Delivery",
    "FileNames",
    "OutputFolder",
    "ResultRow",
    "ResultsText",
    "ResultsWriter",
    "delivery_of",
    "write_report",
]
