"""States of a prepared model: switching, calibrating, choosing ranges again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from openbpu.errors import ConfigError, SampleError, UnsupportedError
from openbpu.qat.laws import Law
from openbpu.qat.observers import Histogram
from openbpu.qat.preparing import preparation
from openbpu.qat.quantisers import Quantiser, Site
from openbpu.qat.states import QUANTISING, State
from openbpu.qat.weighted import ConstantQuantiser, Weighted

_WIDEST_RATIO = 16  # of the ranges of the calls of one module: above it the narrow one keeps fewer than four bits


def state_of(model: nn.Module) -> State:
    """The state of a prepared model. Raises ConfigError if its parts are in different ones."""
    states = {m.state for m in parts(model)}
    if len(states) != 1:
        seen = ", ".join(sorted(s.value for s in states))
        raise ConfigError("all parts of a model are in one state", where="model", seen=seen or "no quantiser")
    return states.pop()


def set_state(model: nn.Module, state: State | str) -> None:
    """Switches a prepared model, and with it train() (in state training) or eval() (in all others).

    Leaving calibration chooses the ranges. Raises ConfigError if the model was never calibrated, UnsupportedError if
    the calls of one module turned out to have ranges that no grid serves.
    """
    preparation(model)
    try:
        state = State(state)
    except ValueError as error:
        raise ConfigError(f"one of {', '.join(s.value for s in State)}", where="state", seen=state) from error
    if state in QUANTISING:
        _choose(model)
    for part in parts(model):
        part.state = state
    if state is State.CALIBRATION:
        for module in model.modules():
            if isinstance(module, Quantiser):
                module.observer.reset()
    model.train(state is State.TRAINING)


def calibrate(model: nn.Module, samples: Iterable[Any], state: State | str = State.VALIDATION) -> None:
    """Runs the samples (tensors, tuples of arguments, or {argument: tensor}) in state calibration, then switches.

    Raises SampleError if there is no sample, or one that does not fit the model.
    """
    set_state(model, State.CALIBRATION)
    count = 0
    with torch.no_grad():
        for sample in each(samples):
            call(model, sample)
            count += 1
    if not count:
        raise SampleError("at least one sample", where="calibrate", seen="none")
    set_state(model, state)


def each(samples: Iterable[Any]) -> Iterator[Any]:
    """The samples. Raises SampleError if it is one tensor or mapping in place of several."""
    if isinstance(samples, Tensor | Mapping):
        raise SampleError(
            "samples are a list of batches", where="samples", seen=type(samples).__name__, remedy="give [batch]"
        )
    yield from samples


def arguments(model: nn.Module, sample: Any) -> tuple[Any, ...]:
    """The positional arguments in a sample: a tensor, a sequence of them, or {argument: tensor}. Raises SampleError."""
    names = [str(node.target) for node in model.graph.nodes if node.op == "placeholder"]
    if isinstance(sample, Mapping) and set(sample) == set(names):
        return tuple(sample[name] for name in names)
    found = (sample,) if isinstance(sample, Tensor) else sample
    if not isinstance(found, tuple | list) or len(found) != len(names):
        seen = type(sample).__name__ if isinstance(sample, Tensor) or not hasattr(sample, "__len__") else (
            f"{type(sample).__name__} of {len(sample)}"
        )  # fmt: skip
        raise SampleError(
            f"a sample is the tensors of {', '.join(names)}", where="samples", seen=seen,
            remedy="leave labels out: (x for x, y in loader)" if len(names) == 1 else "give a tuple or a mapping",
        )  # fmt: skip
    return tuple(found)


def call(model: nn.Module, sample: Any) -> Any:
    """The model on a sample: a tensor, a sequence of arguments, or {argument: tensor}. Raises SampleError."""
    return model(*arguments(model, sample))


def reset_ranges(model: nn.Module, method: str, prefix: str = "") -> None:
    """Chooses the ranges of histogram observers anew by another method, without data: auto, percentile, mse or kl.

    `prefix` limits it to results of modules whose path starts so. Raises ConfigError for an unknown method, or if
    nothing was observed.
    """
    Histogram(method)
    found = [q for q in quantisers(model) if isinstance(q.observer, Histogram) and q.name.startswith(prefix)]
    if not found or not all(int(q.observer.count) for q in found):
        raise ConfigError("histograms of a calibration", where="reset_ranges", seen=f"{len(found)} without data")
    for quantiser in found:
        quantiser.observer.method = method
        quantiser.choose()


def set_batch_norm(model: nn.Module, mode: str) -> None:
    """Switches batch normalisation in training between "train" and "freeze"."""
    if mode not in ("train", "freeze"):
        raise ConfigError("train or freeze", where="batch_norm", seen=mode, remedy="fold when preparing")
    preparation(model)
    for module in model.modules():
        if isinstance(module, Weighted):
            module.mode = mode


def quantisers(model: nn.Module) -> list[Quantiser]:
    """The quantisers of a prepared model, each once, in the order of the graph."""
    return [m for m in model.modules() if isinstance(m, Quantiser)]


def sites(model: nn.Module) -> dict[str, Site]:
    """The sites of a prepared model by name, in the order of the graph."""
    found = {}
    for node in model.graph.nodes:
        if node.op == "call_module" and isinstance(site := model.get_submodule(str(node.target)), Site):
            found[site.name] = site
    return found


@contextmanager
def watched(model: nn.Module, look: Callable[[str, Tensor], object]) -> Iterator[None]:
    """While the context lasts, `look` gets name and result of every site that is called."""
    hooks = [
        site.register_forward_hook(lambda _, __, result, name=name: look(name, result.detach()))
        for name, site in sites(model).items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def parts(model: nn.Module) -> list[Any]:
    """Everything in a prepared model that has a state."""
    return [m for m in model.modules() if isinstance(m, Quantiser | Weighted | ConstantQuantiser | Law)]


def _choose(model: nn.Module) -> None:
    for quantiser in quantisers(model):
        if quantiser.state is State.CALIBRATION and int(quantiser.observer.count):
            quantiser.choose()
        quantiser.check()
    _check_shared(model)


def _check_shared(model: nn.Module) -> None:
    places = {row.name: row.place for row in preparation(model).rows}
    for paths in preparation(model).shared:
        reaches = {path: float(model.get_submodule(path).reach) for path in paths}
        narrow, wide = min(reaches, key=reaches.__getitem__), max(reaches, key=reaches.__getitem__)
        if reaches[wide] > _WIDEST_RATIO * reaches[narrow] > 0:
            first, second = (str(model.get_submodule(path).name) for path in (narrow, wide))
            raise UnsupportedError(
                "the calls of one module share their range",
                where=f"{places[first]} and {places[second]}",
                seen=f"values up to {reaches[narrow]:.3g} in '{first}' and up to {reaches[wide]:.3g} in '{second}'",
                remedy="give each call a module of its own, or prepare with Config(shared='separate')",
            )
