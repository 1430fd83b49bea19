"""Descriptions whose values somebody has changed."""

import copy


def values(rng):
    """A value that a description may not expect."""
    return rng.choice(
        [
            *(None, True, False, 0, -1, 1, 2, 7, 1.5, 1e308, float("nan"), float("inf")),
            *(2**31, 2**63, 10**9, 10**400, "", "가", "x" * 10_000, "os.system", "\ud800", "\0"),
            *([], {}, [[]], [1] * 1000, {"a": {}}, [None], {"_target_": "os.system"}),
            *({"_target_": "subprocess.Popen", "args": "touch mark"}, "hanline.models.recognizer"),
        ]
    )


def edited(note, rng):
    """Return a description with some of its values changed, removed, added or exchanged."""
    note = copy.deepcopy(note)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        places = []
        nodes = [note]
        while nodes:
            node = nodes.pop()
            keys = node if isinstance(node, dict) else range(len(node))
            places += [(node, key) for key in keys]
            nodes += [node[key] for key in keys if isinstance(node[key], dict | list)]
        if not places:
            break
        node, key = rng.choice(places)
        kind = rng.choice(["value", "value", "value", "remove", "add", "exchange", "deep"])
        if kind == "remove" and isinstance(node, dict):
            del node[key]
        elif kind == "add" and isinstance(node, dict):
            node[rng.choice(["_target_", "_args_", "_partial_", "x", "height"])] = values(rng)
        elif kind == "exchange":
            other, at = rng.choice(places)
            node[key] = copy.deepcopy(other[at]) if at in other else None
        elif kind == "deep":
            inner = values(rng)
            for _ in range(rng.choice([3, 300])):
                inner = [inner]
            node[key] = inner
        else:
            node[key] = values(rng)
    return note
