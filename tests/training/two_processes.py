"""What one or two processes find on the same task; started by torchrun with a folder, in which it writes JSON."""

import json
import sys
from pathlib import Path

import torch

from saccade.data import IGNORE
from saccade.tasks.segmentation.task import Segmentation
from saccade.training.distributed import distributed
from saccade.training.evaluation import collect
from saccade.training.sources import LoaderSource
from tests.training.tiny import dataset, network, recipe, segmenter, train_frozen

CLASSES = ("a", "b", "c")


def uneven():
    """Images of which a different share is ignored: from almost none to almost all."""
    data = dataset(n=16)
    for index, target in enumerate(data.train.targets):
        target[:index] = IGNORE
    data.train.targets[3] = IGNORE  # one has no valid pixel at all
    return data


def found(where, folder):
    """Losses of 20 steps, whole and in parts; scores of 7 images; the weights afterwards."""
    losses = {}
    for parts in (1, 2):
        net = network()
        how = recipe(steps=20, batch=8, accumulate=parts, optimizer="momentum", learning_rate=0.05, clip=1.0)
        losses[f"in {parts}"] = train_frozen(net, uneven(), how, folder / str(parts), where)
    how = recipe(steps=20, batch=8, accumulate=2, optimizer="momentum", learning_rate=0.01, clip=1.0)
    net = segmenter()
    losses["danet"] = train_frozen(net, uneven(), how, folder / "danet", where, Segmentation(CLASSES).fitted(net))
    data = dataset(n=4)
    held_out = torch.utils.data.TensorDataset(
        torch.from_numpy(data.val.images[:7]).permute(0, 3, 1, 2), torch.from_numpy(data.val.targets[:7])
    )
    task, net = Segmentation(CLASSES), network(seed=5)
    if where.index:
        net.norm.running_mean += 1  # statistics differ between processes: those of the first count
    evidence = collect(net, task, LoaderSource(held_out), 2, where, full=True)
    single = torch.utils.data.Subset(held_out, [0])  # of which one process has nothing
    few = collect(net, task, LoaderSource(single), 2, where, full=True)
    groups = [{name: vars(group) for name, group in task.groups(one).items()} for one in (evidence, few)]
    scores = [task.scores(one) for one in (evidence, few)]
    return {"losses": losses, "scores": [scores, task.by_class(evidence), json.loads(json.dumps(groups))]}


def main():
    out = Path(sys.argv[1])
    torch.set_num_threads(1)
    where = distributed("cpu")
    result = {"processes": where.processes, **found(where, out)}
    if where.index == 0:
        (out / "found.json").write_text(json.dumps(result))
    where.wait()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
