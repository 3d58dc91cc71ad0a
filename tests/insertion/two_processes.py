"""What each of two processes does; a module of its own, so that starting one imports little."""

import torch
from torch.nn.parallel import DistributedDataParallel

import saccade
from saccade.networks.notes import NotesNet

SIZE = {"example_input": torch.zeros(1, 3, 32, 32)}


ORDERS = ("before", "after")


def train(rank, folder):
    """One of two processes: insert before wrapping, and after it."""
    torch.set_num_threads(1)
    for order in ORDERS:
        train_inserted(rank, folder, order)


def train_inserted(rank, folder, order):
    """Insert before or after wrapping, two steps on data of its own, save what came of it."""
    meet = f"file://{folder}/{order}"
    torch.distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=2)
    torch.manual_seed(rank)  # each draws other weights: wrapping sends those of the first to all
    model = NotesNet()
    if order == "before":
        wrapped = DistributedDataParallel(saccade.insert(model, "se", **SIZE))
    else:
        wrapped = saccade.insert(DistributedDataParallel(model, find_unused_parameters=True), "se", **SIZE)
        assert wrapped.find_unused_parameters
        assert wrapped.saccade_report is model.saccade_report
    assert saccade.verify(wrapped) == ()
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        wrapped(torch.randn(2, 3, 32, 32)).square().mean().backward()
        optimizer.step()
    torch.save({name: p.detach() for name, p in wrapped.module.named_parameters()}, f"{folder}/{order} {rank}.pt")
    torch.distributed.destroy_process_group()
