"""timm: fine-tune the whole network as its training script does (`--weighted` for a class-weighted loss).

AdamW, warm-up and cosine over the steps that the budget allows, timm's standard transforms, label smoothing, no mixup.
"""

from __future__ import annotations

import timm
import torch
from common import MOST_EPOCHS, Task, class_weights, seconds_per_batch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

BATCH, RATE, DECAY, SMOOTHING = 32, 5e-4, 0.02, 0.1


def main() -> None:
    task = Task()
    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    model = timm.create_model("tf_efficientnet_lite0", num_classes=len(task.classes), **task.lite0())
    config = {**resolve_model_data_config(model), "input_size": (3, task.tuned_size, task.tuned_size)}
    images = ImageFolder(str(task.train), transform=create_transform(**config, is_training=True))
    loader = DataLoader(images, BATCH, shuffle=True, num_workers=1, drop_last=len(images) > BATCH)
    weight = torch.tensor(class_weights(images.targets)) if "--weighted" in task.options else None
    loss = torch.nn.CrossEntropyLoss(weight=weight, label_smoothing=SMOOTHING)
    per_step = seconds_per_batch(model, loader, 0.1 * task.budget)
    steps = max(1, min(MOST_EPOCHS * len(loader), int(0.95 * task.seconds_left() / per_step)))
    optimizer = create_optimizer_v2(model, opt="adamw", lr=RATE, weight_decay=DECAY)
    schedule = CosineLRScheduler(
        optimizer,
        t_initial=steps,
        warmup_t=max(1, steps // 20),
        warmup_lr_init=1e-6,
        warmup_prefix=True,
        t_in_epochs=False,
    )
    print(f"{steps} steps, {steps / len(loader):.1f} epochs", flush=True)
    train(model, loader, loss, optimizer, schedule, steps, task)
    task.fitted()
    transform = create_transform(**config, is_training=False)
    model.eval()
    predicted: list[int] = []
    with torch.inference_mode():
        for begin in range(0, len(task.images), BATCH):
            paths = task.images[begin : begin + BATCH]
            batch = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])
            predicted += model(batch).argmax(1).tolist()
    task.save(predicted)


def train(model, loader, loss, optimizer, schedule, steps: int, task: Task) -> None:
    model.train()
    step = 0
    schedule.step_update(0)
    while True:
        for batch, targets in loader:
            optimizer.zero_grad()
            loss(model(batch), targets).backward()
            optimizer.step()
            step += 1
            schedule.step_update(step)
            if step == steps or task.seconds_left() < 0:
                return


if __name__ == "__main__":
    main()
