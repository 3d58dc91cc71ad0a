"""A data set and a network small enough to train within a test."""

import numpy as np
import torch
from torch import nn

import saccade
from saccade.data import Arrays, Split
from saccade.tasks import find_task
from saccade.training.evaluation import validation_on
from saccade.training.loop import train
from saccade.training.recipe import Recipe
from saccade.training.sources import ArraySource


def dataset(n=12, k=3, side=16, task="segmentation", seed=0):
    """Images whose class shows in their colour."""
    rng = np.random.default_rng(seed)

    def split(count, what):
        classes = rng.integers(0, k, count)
        images = rng.integers(0, 80, (count, side, side, 3)).astype(np.uint8)
        images[np.arange(count), :, :, classes % 3] += 120
        targets = classes.astype(np.int64)
        if task == "segmentation":
            targets = np.repeat(classes.astype(np.uint8), side * side).reshape(count, side, side)
        return Split(images, targets, tuple(f"{what} {i}" for i in range(count)))

    return Arrays("tiny", task, tuple("abc"[:k]), split(n, "train"), split(8, "val"), "colours")


class Net(nn.Module):
    """Two residual blocks' worth of everything that has state: norms, dropout, stride."""

    def __init__(self, k=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Conv2d(8, k, 1)

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu(x + self.norm(self.conv(x)))
        return self.head(self.drop(x))


def network(seed=0):
    """The same weights for the same seed."""
    torch.manual_seed(seed)
    return Net()


def recipe(**changes):
    """Ten quick steps."""
    return Recipe(**({"steps": 10, "batch": 4, "learning_rate": 1e-2, "seed": 3} | changes))


def task_of(data):
    """The task of a data set, with its classes."""
    return find_task(data.task)(data.classes, size=data.val.images.shape[1])


def run(net, data, how, folder, *, augment=False, images=100, **rest):
    """Train on images in memory, with validations."""
    task = task_of(data)
    validate = validation_on(data, task, device=torch.device("cpu"), batch=how.batch, images=images)
    source = ArraySource(data, augment=task.augment if augment else None)
    return train(net, task, source, how, folder, validate=validate, **rest)


def train_frozen(net, data, how, folder, where, task=None):
    """The losses of training with batch norms that do not follow their batches, and no dropout."""
    net.eval()  # of which dropout is a part
    net.training = True  # the network itself returns what has a loss
    net.train = lambda mode=True: net  # the loop's call of it must not thaw them
    losses = []
    train(
        net, task or task_of(data), ArraySource(data), how, folder, where=where,
        on_step=lambda row: losses.append(row.loss),
    )  # fmt: skip
    return losses


def segmenter(k=3):
    """Three outputs, each with a loss; its attention is on."""
    torch.manual_seed(0)
    net = saccade.segmenter("danet", k, backbone="test_resnet")
    for name, parameter in net.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(parameter, 0.5)
    return net
