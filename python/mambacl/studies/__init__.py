"""Studies: questions that families of trained learners are asked, each with a page of figures and tables."""

from mambacl.studies.conduct import Places, conduct, page
from mambacl.studies.contents import write_contents
from mambacl.studies.registry import names, study
from mambacl.studies.scale import Scale
from mambacl.studies.study import Report, Study, Told

__all__ = [
    "Places",
    "Report",
    "Scale",
    "Study",
    "Told",
    "conduct",
    "names",
    "page",
    "study",
    "write_contents",
]
