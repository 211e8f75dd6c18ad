"""ultralytics (AGPL, so only ever run as a program of its own): classification from its yaml.

No pretrained weights are to be had. Images under 10 pixels, such as digits, are refused.
"""

from __future__ import annotations

import os

from common import Task


def main() -> None:
    task = Task()
    os.environ |= {"YOLO_CONFIG_DIR": str(task.out), "YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true"}
    folder = task.held_out()

    import torch
    from ultralytics import YOLO

    torch.set_num_threads(task.threads)
    model = YOLO("yolo11n-cls.yaml")
    model.train(
        data=str(folder),
        imgsz=task.tuned_size,
        batch=32,
        time=0.95 * task.seconds_left() / 3600,
        seed=task.seed,
        workers=1,
        device="cpu",
        amp=False,
        plots=False,
        project=str(task.out),
        name="run",
    )
    task.fitted()
    predicted = []
    for path in task.images:
        (result,) = model.predict(str(path), imgsz=task.tuned_size, verbose=False, device="cpu")
        predicted.append(result.names[result.probs.top1])
    task.save(predicted)


if __name__ == "__main__":
    main()
