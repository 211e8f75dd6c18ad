"""Studies on one engine: compare, transfer, enhance, reproduce.

A study plans tasks, executes one, and draws conclusions; `run_study` owns the folder, orders the tasks, runs them in
parallel, resumes them, and records failures. `STUDIES` names the studies.
"""

from typing import TYPE_CHECKING

from counterpoise.catalogs import Catalog, Entry, lazy_exports

if TYPE_CHECKING:
    from counterpoise.studies.audit.labels import SuspectLabel as SuspectLabel
    from counterpoise.studies.audit.labels import find_label_errors as find_label_errors
    from counterpoise.studies.audit.labels import plan_deep_audit as plan_deep_audit
    from counterpoise.studies.audit.labels import write_audit_page as write_audit_page
    from counterpoise.studies.compare.study import ComparisonStudy as ComparisonStudy
    from counterpoise.studies.engine.backends import BACKENDS as BACKENDS
    from counterpoise.studies.engine.planned_runs import RunGrid as RunGrid
    from counterpoise.studies.engine.planned_runs import make_grid as make_grid
    from counterpoise.studies.engine.study import Conclusion as Conclusion
    from counterpoise.studies.engine.study import Study as Study
    from counterpoise.studies.engine.study import publish as publish
    from counterpoise.studies.engine.study import run_study as run_study
    from counterpoise.studies.engine.summaries import GroupMeans as GroupMeans
    from counterpoise.studies.engine.summaries import StudySummary as StudySummary
    from counterpoise.studies.engine.tasks import Event as Event
    from counterpoise.studies.engine.tasks import Failure as Failure
    from counterpoise.studies.engine.tasks import Outcome as Outcome
    from counterpoise.studies.engine.tasks import Task as Task
    from counterpoise.studies.engine.tasks import ThrottledProgress as ThrottledProgress
    from counterpoise.studies.enhance.plan import make_enhance_plan as make_enhance_plan
    from counterpoise.studies.enhance.study import EnhancementStudy as EnhancementStudy
    from counterpoise.studies.enhance.study import show_images as show_images
    from counterpoise.studies.fit.page import build_fit_report as build_fit_report
    from counterpoise.studies.fit.plan import FitPlan as FitPlan
    from counterpoise.studies.fit.plan import load_for_fit as load_for_fit
    from counterpoise.studies.fit.plan import make_fit_plan as make_fit_plan
    from counterpoise.studies.fit.study import FitResult as FitResult
    from counterpoise.studies.fit.study import FitStudy as FitStudy
    from counterpoise.studies.reproduce.plan import plan_table as plan_table
    from counterpoise.studies.reproduce.study import ReproductionStudy as ReproductionStudy
    from counterpoise.studies.reproduce.tables import all_tables as all_tables
    from counterpoise.studies.reproduce.tables import get_table as get_table
    from counterpoise.studies.reproduce.transfer import reproduce_transfer as reproduce_transfer
    from counterpoise.studies.transfer.plan import make_transfer_plan as make_transfer_plan
    from counterpoise.studies.transfer.study import TransferStudy as TransferStudy

_HERE = __name__
STUDIES: Catalog[Entry] = Catalog(
    "study",
    [
        Entry(
            name="compare",
            target=f"{_HERE}.compare.study:ComparisonStudy",
            title="Comparison",
            summary="Methods on the same repeats: means, intervals and paired tests.",
        ),
        Entry(
            name="fit",
            target=f"{_HERE}.fit.study:FitStudy",
            title="Best model in a time budget",
            summary="Heads on pretrained features and a fine-tuned network, chosen by held-out images.",
        ),
        Entry(
            name="transfer",
            target=f"{_HERE}.transfer.study:TransferStudy",
            title="Transfer by layers",
            summary="Which layers of a network carry over from one task to another.",
            source="Yosinski et al. 2014",
        ),
        Entry(
            name="enhance",
            target=f"{_HERE}.enhance.study:EnhancementStudy",
            title="Learned perturbations",
            summary="A U-Net changes images so that a classifier recognizes them better.",
            source='Slides "Learning Perturbations to Improve Classification Accuracy"',
        ),
        Entry(
            name="reproduce",
            target=f"{_HERE}.reproduce.study:ReproductionStudy",
            title="Reproduction of a table",
            summary="A published table under its own protocol, beside the published numbers.",
        ),
    ],
)

_MODULES = {
    "audit.labels": ("SuspectLabel", "find_label_errors", "plan_deep_audit", "write_audit_page"),
    "compare.study": ("ComparisonStudy",),
    "engine.backends": ("BACKENDS",),
    "engine.planned_runs": ("RunGrid", "make_grid"),
    "engine.study": ("Conclusion", "Study", "publish", "run_study"),
    "engine.summaries": ("GroupMeans", "StudySummary"),
    "engine.tasks": ("Event", "Failure", "Outcome", "Task", "ThrottledProgress"),
    "enhance.plan": ("make_enhance_plan",),
    "enhance.study": ("EnhancementStudy", "show_images"),
    "fit.page": ("build_fit_report",),
    "fit.plan": ("FitPlan", "load_for_fit", "make_fit_plan"),
    "fit.study": ("FitResult", "FitStudy"),
    "reproduce.plan": ("plan_table",),
    "reproduce.study": ("ReproductionStudy",),
    "reproduce.tables": ("all_tables", "get_table"),
    "reproduce.transfer": ("reproduce_transfer",),
    "transfer.plan": ("make_transfer_plan",),
    "transfer.study": ("TransferStudy",),
}

__getattr__, __dir__, _names = lazy_exports(
    __name__, {name: f"{_HERE}.{module}" for module, names in _MODULES.items() for name in names}
)
__all__ = ["STUDIES", *_names]
