"""A lie in the middle of a round: a partial sum that is not that of its updates, with all above it made to fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copyfile

from galaxy_chain.coordinators.summing_up import SummingUp, Tree
from galaxy_chain.following.history import JobHistory
from galaxy_fl.aggregation.rule import is_sum
from galaxy_fl.aggregation.sum_tree import Node, locate
from galaxy_fl.aggregation.summing import Summand, finish_file, node_file, write_sum
from galaxy_fl.vectors import read_sums, tree_root

__all__ = ["LyingSums"]


class LyingSums(SummingUp):
    """Sums rounds up as a server does, but for one parameter of the first partial sum.

    The sums above it and the next model follow from it, so that each but the first is right.
    """

    def sum_up(self, history: JobHistory, model: Path, updates: Mapping[str, Path], next_model: Path) -> Tree:
        """Sum up as ever."""
        self._entries, self._model = len(history.entries), model
        return super().sum_up(history, model, updates, next_model)

    def publish(self, folder: Path, paths: Sequence[Path], nodes: Sequence[Node], next_model: Path) -> Tree:
        """Publish the lie, and a next model that follows from it."""
        terms, rule, made = self._verifier.terms, self._verifier.rule, list(nodes)
        assert is_sum(rule)
        lies = [node_file(folder, number) for number in range(1, len(nodes) + 1)]
        for number, (path, file) in enumerate(zip(paths, lies, strict=True), 1):
            place = locate(self._entries, terms.fan_in, number)
            if number == 1:
                vector = read_sums(path, terms.parameters).copy()
                vector[len(vector) // 2] += nodes[-1].weight  # the mean becomes one more
                file.write_bytes(vector.tobytes())
            elif place.level > 1:
                children = [Summand(lies[each - 1], nodes[each - 1].weight) for each in place.child_nodes]
                write_sum(children, file, terms.parameters, of_nodes=True)
            elif path != file:
                copyfile(path, file)
            root = tree_root(read_sums(file, terms.parameters), terms.chunk_parameters)
            made[number - 1] = Node(root, nodes[number - 1].weight)
        word, sums = self._verifier.document.rule.rule_word, lies[-1]
        finish_file(rule, word, self._model, sums, nodes[-1].weight, next_model, terms.parameters)
        return super().publish(folder, lies, made, next_model)
