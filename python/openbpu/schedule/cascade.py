"""Cascades: instructions that run stripe by stripe, so that only some rows of what lies between them are in SRAM."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from openbpu.schedule.chain import Chain, Stage, Walk
from openbpu.schedule.flow import Node, Root

Steps = list[tuple[int, int, int]]  # (position of the node, first row, end), in order


@dataclass(eq=False)
class Cascade:
    """Nodes in `stripes` stripes. Buffers that have no stage lie in SRAM as a whole."""

    nodes: Sequence[Node]
    stripes: int
    stages: dict[Root, Stage]
    steps: list[Steps] = field(default_factory=list)  # one list per stripe
    targets: list[dict[Root, int]] = field(default_factory=list)  # rows of loaded buffers, after each stripe

    @property
    def weights(self) -> int:
        return sum(-(-node.weight_bytes // 64) * 64 for node in self.nodes)

    @property
    def bytes(self) -> int:
        """SRAM that it needs, weights included."""
        return self.weights + sum(stage.bytes for stage in self.stages.values())

    @property
    def traffic(self) -> int:
        """Bytes of buffers from and to DDR."""
        return sum(s.loaded_bytes + s.stored_bytes for s in self.stages.values())


def build(nodes: Sequence[Node], stripes: int, resident: Collection[Root]) -> Cascade | None:
    """The cascade in so many stripes; None if rows would be needed after they have been overwritten."""
    chain = Chain(nodes[-1].index, resident)
    for node in reversed(nodes):
        chain.add(node)
    if chain.moved[-1] is None or chain.bytes(len(nodes), stripes) is None:
        return None
    walk = chain.walk(stripes)
    for root, stage in chain.stages.items():
        assert stage.root.geometry is not None
        stage.rows = min(walk.rows[root], stage.root.geometry.h)
    order = sorted(chain.stages, key=lambda root: -chain.uses[root][0].position)  # as the nodes touch them
    cascade = Cascade(nodes, stripes, {root: chain.stages[root] for root in order})
    for stripe in range(stripes):
        cascade.steps.append(_steps(walk, stripe))
        cascade.targets.append({r: _loaded(chain, walk, r, stripe) for r in order if chain.stages[r].load})
    return cascade


def _steps(walk: Walk, stripe: int) -> Steps:
    """The rows of each node in a stripe."""
    columns = walk.columns[::-1]
    rows = ((k, made[stripe - 1] if stripe else 0, made[stripe]) for k, made in enumerate(columns))
    return [(k, first, end) for k, first, end in rows if end > first]


def _loaded(chain: Chain, walk: Walk, root: Root, stripe: int) -> int:
    """The end of the rows of a buffer that a stripe and those before it read."""
    return max(u.node.ends(u.name)[walk.columns[u.position][stripe]] for u in chain.uses[root] if u.name)
