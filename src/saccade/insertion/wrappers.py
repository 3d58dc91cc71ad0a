"""Find the network inside wrappers, refuse what cannot be changed, and rebuild wrappers of a changed network."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from saccade.errors import InputError


def unwrapped(model: nn.Module, *, compiled: bool = False) -> nn.Module:
    """Return the network inside wrappers for parallel training; refuse anything that cannot be changed.

    Args:
        model: The network, or a wrapper.
        compiled: If True, a network that was compiled in place, by its method ``compile()``, is not refused.

    Raises:
        TypeError: It is not a module.
        InputError: It was compiled, scripted, traced or quantised.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"a network must be a torch.nn.Module; received {type(model).__name__}")
    while isinstance(model, (DistributedDataParallel, DataParallel)):
        model = model.module
    for path, module in model.named_modules():
        kind = f"{path or 'the network'} ({type(module).__name__})"
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(f"{kind}: a scripted or traced network cannot be changed", "insert first, script it then")
        in_place = module._compiled_call_impl is not None and not compiled
        if type(module).__name__ == "OptimizedModule" or in_place:
            raise InputError(f"{kind}: a compiled network cannot be changed", "insert first, compile afterwards")
        if is_quantised(module):
            raise InputError(
                f"{kind}: a quantised network computes with integers, unlike the mechanisms",
                "insert into the network it was made of, and quantise that afterwards",
            )
    return model


def with_forward(model: nn.Module) -> nn.Module:
    """Return the network inside a module that only holds it, such as a module of Lightning without a forward.

    Raises:
        InputError: It holds several networks with convolutions, or none.
    """
    path = ""
    while not _runs(model):
        held = {name: part for name, part in model.named_children() if _convolves(part)}
        if len(held) != 1:
            which = f"it holds {', '.join(held)}" if held else "it holds no network with convolutions"
            raise InputError(
                f"{path or 'the network'} ({type(model).__name__}): has no forward of its own, and {which}",
                "give the network that is to be changed, a part of this module",
            )
        name, model = next(iter(held.items()))
        path = f"{path}.{name}".lstrip(".")
    return model


def _runs(model: nn.Module) -> bool:
    forward = getattr(type(model), "forward", None)
    # Lightning's own only says that there is none.
    nothing = forward is nn.Module.forward or getattr(forward, "__qualname__", "") == "LightningModule.forward"
    return not nothing or "forward" in vars(model)


def _convolves(model: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.conv._ConvNd) for part in model.modules())


def is_quantised(module: nn.Module) -> bool:
    """Return whether a module computes with integers, or holds tensors of them."""
    name = type(module).__name__
    if ".quantized" in type(module).__module__ and type(module).__module__.startswith("torch."):
        return "FloatFunctional" not in name  # additions of floats, to be replaced when the network is quantised
    tensors = [*module._parameters.values(), *module._buffers.values()]
    return any(
        tensor is not None and (tensor.is_quantized or type(tensor).__module__.startswith("torchao"))
        for tensor in tensors
    )


def compile_anew(model: nn.Module) -> None:
    """Have torch compile a network that was compiled in place again when it is called next, as its modules changed."""
    if any(module._compiled_call_impl is not None for module in model.modules()):
        torch._dynamo.reset()


def check_renewable(model: nn.Module) -> None:
    """Refuse a wrapper for distributed training that cannot be rebuilt.

    Raises:
        InputError: It has communication hooks.
    """
    while isinstance(model, (DistributedDataParallel, DataParallel)):
        if getattr(model, "_comm_hooks", None):
            raise InputError(
                f"{type(model).__name__}: its communication hooks would be lost, as it must be rebuilt",
                "change the network (.module) first, wrap it and register the hooks afterwards",
            )
        model = model.module


def renew(model: nn.Module) -> None:
    """Rebuild the wrappers of a changed network, in place, with the arguments they were made with.

    DistributedDataParallel reads the parameters once, when it is created: otherwise new ones would not be synchronised.
    Creating it sends rank 0's values to all, those of the new mechanisms too; so every rank must call this.
    """
    if isinstance(model, DataParallel):
        renew(model.module)
    if isinstance(model, DistributedDataParallel):
        renew(model.module)
        training, names = model.training, inspect.signature(DistributedDataParallel.__init__).parameters
        # Two pairs exclude each other: a mesh and a group, buffers sent in the forward and broadcast buffers.
        kept = {"init_sync", "device_mesh", "broadcast_buffers", "self"}
        given: dict[str, Any] = {
            name: getattr(model, name) for name in names if name not in kept and hasattr(model, name)
        }
        DistributedDataParallel.__init__(model, **given)
        model.train(training)  # type: ignore[no-untyped-call]
