"""Transfer learning by layers: which layers of a network carry over from one task to another.

After the lecture and Yosinski et al. 2014, "How transferable are features in deep neural networks?": the first n
layers of a network trained on task A, or on task B itself, are copied, frozen or fine-tuned, and the rest is trained
on B.
"""

from counterpoise.studies.transfer.plan import Training, TransferPlan, make_transfer_plan
from counterpoise.studies.transfer.study import TransferResult, TransferStudy, run_transfer
from counterpoise.studies.transfer.tasks import Tasks, draw_tasks, read_layers

__all__ = [
    "Tasks",
    "Training",
    "TransferPlan",
    "TransferResult",
    "TransferStudy",
    "draw_tasks",
    "make_transfer_plan",
    "read_layers",
    "run_transfer",
]
