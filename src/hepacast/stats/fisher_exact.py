"""Fisher's exact test for a table of any size, exactly: no simulation.

Tables with the observed margins are built one column at a time (Mehta and Patel's network). Partial tables that can
only end above, or only below, the observed probability are settled at once; partial tables with the same remaining
margins and the same probability are merged. The answer is the sum of the probabilities of all tables that are no
more probable than the observed one, as in R.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, logsumexp

from hepacast.stats.contingency import counts_table
from hepacast.stats.design import Array
from hepacast.stats.results import TestResult, impossible

NAME = "Fisher exact"
RELATIVE = 1e-7
"""Tables this close in probability count as equally probable, as in R."""

MAX_EDGES = 5_000_000
"""Steps of the network, and ..."""

MAX_STATES = 5_000_000
"""... partial tables held at once; beyond either, the test is declared too large (as R does, with LDSTP or LDKEY)."""

Counts = NDArray[np.int64]


def fisher_exact(table: ArrayLike, *, level: float = 0.95) -> TestResult:
    """Fisher's exact test, two-sided.

    Returns
    -------
    TestResult
        For a 2 x 2 table, `estimate` is the conditional maximum-likelihood odds ratio and `ci` its exact limits, as
        R's `fisher.test`. A table that would need more than five million partial tables is `impossible`, with the
        reason; a chi-square test is then in place.
    """
    counts = counts_table(table)
    if min(counts.shape) < 2:
        return impossible(NAME, "only one row or one column has patients")
    if counts.shape == (2, 2):
        return _two_by_two(counts, level)
    integer = counts.astype(np.int64)
    # The state is the remaining margin of the shorter side.
    oriented = integer if integer.shape[0] <= integer.shape[1] else integer.T
    p = _network_p(oriented)
    if p is None:
        return impossible(NAME, "the table is too large for the exact test")
    return TestResult(NAME, p=p)


def _two_by_two(counts: Array, level: float) -> TestResult:
    from scipy.stats import hypergeom
    from scipy.stats.contingency import odds_ratio

    integer = counts.astype(int)
    first, second = integer.sum(axis=1)
    column = integer[:, 0].sum()
    support = np.arange(max(0, column - second), min(first, column) + 1)
    probability = hypergeom.pmf(support, first + second, first, column)
    observed = probability[support == integer[0, 0]][0]
    p = float(min(1.0, probability[probability <= observed * (1 + RELATIVE)].sum()))
    ratio = odds_ratio(integer, kind="conditional")
    interval = ratio.confidence_interval(confidence_level=level)
    return TestResult(NAME, p=p, estimate=float(ratio.statistic), ci=(float(interval.low), float(interval.high)))


def _count_compositions(total: int, bounds: Counts) -> int:
    """How many vectors `_compositions` would list."""
    ways = np.zeros(total + 1)
    ways[0] = 1.0
    for bound in bounds:
        below = np.cumsum(ways)
        ways = below - np.concatenate([np.zeros(min(bound + 1, total + 1)), below])[: total + 1]
    return int(ways[total])


def _compositions(total: int, bounds: Counts) -> Counts:
    """All vectors of whole numbers with the given sum and upper bounds, one a row."""
    parts = np.zeros((1, 0), dtype=np.int64)
    left = np.array([total], dtype=np.int64)
    for index, bound in enumerate(bounds):
        rest = int(bounds[index + 1 :].sum())
        low = np.maximum(0, left - rest)
        high = np.minimum(bound, left)
        width = np.maximum(high - low + 1, 0)
        source = np.repeat(np.arange(left.size), width)
        value = np.arange(width.sum()) - np.repeat(np.cumsum(width) - width, width) + low[source]
        parts = np.column_stack([parts[source], value])
        left = left[source] - value
    return parts


@dataclass(frozen=True)
class _NetworkStage:
    """The nodes at one stage of the network: remaining row margins, and what can follow each.

    `children[k]` and `steps[k]` are, for node k, the nodes of the next stage and the log-probability of the column
    that leads there (minus its factorials); `longest`, `shortest` and `total` are the largest, the smallest and the
    summed log-probability of all ways from each node to the end.
    """

    children: list[NDArray[np.int64]]
    steps: list[Array]
    longest: Array
    shortest: Array
    total: Array


def _network_p(table: Counts) -> float | None:
    """The P value, or None if the table is too large."""
    rows, columns = np.sort(table.sum(axis=1)), np.sort(table.sum(axis=0))[::-1]
    log_factorial = gammaln(np.arange(int(table.sum()) + 1) + 1.0)
    stages = _network(rows, columns, log_factorial)
    if stages is None:
        return None
    constant = log_factorial[rows].sum() + log_factorial[columns].sum() - log_factorial[-1]
    # A relative 1e-7 of the probability is the same absolute amount of its logarithm.
    threshold = float(-log_factorial[table].sum() + np.log1p(RELATIVE))
    settled: list[float] = []
    node, past, weight = np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros(1)
    middle = len(stages) // 2
    for stage in stages[:middle]:
        open_ = _settle(stage, node, past, weight, threshold, settled)
        grown = _advance(stage, node[open_], past[open_], weight[open_])
        if grown is None:
            return None
        node, past, weight = grown
    open_ = _settle(stages[middle], node, past, weight, threshold, settled)
    if not _meet(stages[middle:], node[open_], past[open_], weight[open_], threshold, settled):
        return None
    return float(min(1.0, np.exp(logsumexp(settled) + constant))) if settled else 0.0


def _settle(
    stage: _NetworkStage, node: NDArray[np.int64], past: Array, weight: Array, threshold: float, settled: list[float]
) -> NDArray[np.bool_]:
    """Count partial tables that can only end at or below the threshold; say which are still undecided."""
    whole = past + stage.longest[node] <= threshold
    if whole.any():
        settled.append(float(logsumexp(past[whole] + weight[whole] + stage.total[node[whole]])))
    return ~whole & (past + stage.shortest[node] <= threshold)


def _meet(
    stages: list[_NetworkStage],
    node: NDArray[np.int64],
    past: Array,
    weight: Array,
    threshold: float,
    settled: list[float],
) -> bool:
    """Finish the undecided partial tables with the sorted list of all endings of their node."""
    memory: dict[tuple[int, int], tuple[Array, Array]] = {}
    budget = [MAX_STATES]

    def endings(depth: int, index: int) -> tuple[Array, Array] | None:
        """Log-probabilities of all ways from a node to the end, and how many there are of each (log)."""
        if depth == len(stages):
            return np.zeros(1), np.zeros(1)
        if (depth, index) in memory:
            return memory[depth, index]
        parts = []
        for child, step in zip(stages[depth].children[index], stages[depth].steps[index]):
            rest = endings(depth + 1, int(child))
            if rest is None:
                return None
            parts.append((np.zeros(rest[0].size, dtype=np.int64), rest[0] + step, rest[1]))
            budget[0] -= rest[0].size
            if budget[0] < 0:
                return None
        _, values, counts = _merge(parts)
        memory[depth, index] = (values, counts)
        return values, counts

    for index in np.unique(node):
        found = endings(0, int(index))
        if found is None:
            return False
        values, counts = found
        below = np.logaddexp.accumulate(values + counts)
        mine = node == index
        reached = np.searchsorted(values, threshold - past[mine], side="right")
        some = reached > 0
        if some.any():
            settled.append(float(logsumexp(past[mine][some] + weight[mine][some] + below[reached[some] - 1])))
    return True


def _network(rows: Counts, columns: Counts, log_factorial: Array) -> list[_NetworkStage] | None:
    """All stages: nodes forwards from the full margins, then longest and shortest ways backwards from the end."""
    margins, budget = [rows[None, :]], MAX_EDGES
    edges: list[tuple[list[NDArray[np.int64]], list[Array]]] = []
    for column in columns:
        budget -= sum(_count_compositions(int(column), margin) for margin in margins[-1])
        if budget < 0:
            return None
        fills = [_compositions(int(column), margin) for margin in margins[-1]]
        steps = [-log_factorial[fill].sum(axis=1) for fill in fills]
        after = np.concatenate([np.sort(margin - fill, axis=1) for margin, fill in zip(margins[-1], fills)])
        # Which row lost patients does not matter for what follows: sorted margins are one node.
        nodes, inverse = np.unique(after, axis=0, return_inverse=True)
        margins.append(nodes)
        edges.append((np.split(inverse.ravel(), np.cumsum([len(fill) for fill in fills])[:-1]), steps))
    longest, shortest = np.zeros(1), np.zeros(1)
    stages: list[_NetworkStage] = []
    for index in range(len(columns) - 1, -1, -1):
        children, steps = edges[index]
        longest = np.array([(step + longest[child]).max() for child, step in zip(children, steps)])
        shortest = np.array([(step + shortest[child]).min() for child, step in zip(children, steps)])
        # Sum over all ways: n! / (product of the rows' and the columns' factorials).
        left = log_factorial[columns[index:].sum()] - log_factorial[columns[index:]].sum()
        total = left - log_factorial[margins[index]].sum(axis=1)
        stages.insert(0, _NetworkStage(children, steps, longest, shortest, total))
    return stages


def _advance(
    stage: _NetworkStage, node: NDArray[np.int64], past: Array, weight: Array
) -> tuple[NDArray[np.int64], Array, Array] | None:
    """Add one column to every partial table; merge those that are equal from here on."""
    parts: list[tuple[NDArray[np.int64], Array, Array]] = []
    held = 0
    order = np.argsort(node, kind="stable")
    node, past, weight = node[order], past[order], weight[order]
    starts = np.flatnonzero(np.diff(node, prepend=-1))
    for start, stop in zip(starts, np.append(starts[1:], node.size)):
        child, step = stage.children[node[start]], stage.steps[node[start]]
        count = stop - start
        parts.append(
            (
                np.repeat(child, count),
                (step[:, None] + past[start:stop]).ravel(),
                np.tile(weight[start:stop], len(child)),
            )
        )
        held += len(child) * count
        if held > MAX_STATES:
            parts = [_merge(parts)]
            held = parts[0][0].size
            if held > MAX_STATES // 2:
                return None
    return _merge(parts)


def _merge(parts: list[tuple[NDArray[np.int64], Array, Array]]) -> tuple[NDArray[np.int64], Array, Array]:
    """Join partial tables at the same node whose probability agrees to ten digits; `weight` counts them (log)."""
    if not parts:
        return np.empty(0, dtype=np.int64), np.empty(0), np.empty(0)
    node, past, weight = (np.concatenate(column) for column in zip(*parts))
    key = np.rint(past * 1e10).astype(np.int64)
    order = np.lexsort((key, node))
    node, past, weight, key = node[order], past[order], weight[order], key[order]
    first = np.flatnonzero(np.append(True, (np.diff(key) != 0) | (np.diff(node) != 0)))
    return node[first], past[first], np.logaddexp.reduceat(weight, first)
