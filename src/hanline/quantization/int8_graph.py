"""The operations of a feature extraction, and which of its values are kept in 8 bits."""

import operator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import fx, nn

from hanline.errors import HanlineError

CANNOT = "this recognizer cannot read in 8 bits"
_ADDITIONS = {operator.add, operator.iadd, torch.add}
_RELUS = {F.relu, torch.relu}


@dataclass(frozen=True)
class Group:
    """A convolution and the operations fused into it.

    Attributes:
        convolution: its node.
        norm: the normalization folded into it.
        addend: the node whose value is added to what it gives.
        relu: whether negative numbers become 0 at last.
        output: the node whose value all of this gives.
    """

    convolution: fx.Node
    norm: nn.BatchNorm2d | None
    addend: fx.Node | None
    relu: bool
    output: fx.Node


class Plan:
    """The operations in their order, and which values are kept in 8 bits."""

    def __init__(self, features: nn.Module) -> None:
        try:
            self.traced = fx.symbolic_trace(features.eval())
        except Exception as error:  # whatever a forward pass does with stand-ins for tensors
            raise HanlineError(f"{CANNOT}: torch.fx cannot trace its features: {error}") from error
        self.modules = dict(self.traced.named_modules())
        self.nodes = list(self.traced.graph.nodes)
        for node in self.nodes:
            module = self.module(node)
            if node.op == "get_attr":
                raise HanlineError(f"{CANNOT}: its features use the weight {node.target} directly")
            if isinstance(module, nn.Conv2d) and (
                module.padding_mode != "zeros" or isinstance(module.padding, str)
            ):
                raise HanlineError(f"{CANNOT}: {node.target} does not pad with a number of zeros")
        self.groups: dict[fx.Node, Group] = {}
        taken: set[fx.Node] = set()
        for node in self.nodes:
            if self._is(node, nn.Conv2d):
                group = self._group(node, taken)
                self.groups[group.output] = group
        # The nodes inside a group are run at the place of its output.
        self.within: dict[fx.Node, fx.Node] = {}
        for group in self.groups.values():
            node = group.convolution
            while node is not group.output:
                self.within[node] = group.output
                node = next(iter(node.users))
        convolutions = {group.convolution for group in self.groups.values()}
        addends = {group.addend for group in self.groups.values()}
        self.kept: set[fx.Node] = set()
        for node in reversed(self.nodes):
            pooled = {user for user in node.users if self._is(user, nn.MaxPool2d)}
            if node in addends or convolutions & node.users.keys() or pooled & self.kept:
                self.kept.add(node)

    def module(self, node: fx.Node) -> nn.Module | None:
        return self.modules.get(str(node.target)) if node.op == "call_module" else None

    def needs_later(self, node: fx.Node, step: fx.Node) -> bool:
        """Return whether a node's value is needed after a step."""
        users = (self.within.get(user, user) for user in node.users)
        return max(map(self.nodes.index, users)) > self.nodes.index(step)

    def _is(self, node: fx.Node, *kinds: type) -> bool:
        return isinstance(self.module(node), kinds)

    def _group(self, convolution: fx.Node, taken: set[fx.Node]) -> Group:
        """Return the convolution and what follows it, if nothing else needs the values between."""
        norm, addend, relu, last = None, None, False, convolution
        following = _only_user(last)
        if following and self._is(following, nn.BatchNorm2d):
            norm, last = cast(nn.BatchNorm2d, self.module(following)), following
            following = _only_user(last)
        if following and following not in taken and following.target in _ADDITIONS:
            others = [node for node in following.args if node is not last]
            if len(others) == 1 and isinstance(others[0], fx.Node) and not following.kwargs:
                taken.add(following)
                addend, last = others[0], following
                following = _only_user(last)
        if following and (self._is(following, nn.ReLU) or following.target in _RELUS):
            relu, last = True, following
        return Group(convolution, norm, addend, relu, last)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None
