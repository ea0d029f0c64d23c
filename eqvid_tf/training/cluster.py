"""TF_CONFIG: the text by which the processes of a training are told of each other."""

from __future__ import annotations

import json

ROLES = ("chief", "worker")  # parameter servers and evaluators have no place here


def read_cluster(text: str) -> tuple[int, list[str]]:
    """The number of this process, and the addresses of all, from the text of TF_CONFIG; none of an empty one.

    Raises:
        ValueError: it is no JSON of that form, or has other roles than chief and worker.
    """
    try:
        read = json.loads(text or "{}")
        cluster, task = read.get("cluster", {}), read.get("task", {})
        addresses = [(role, number) for role in ROLES for number in range(len(cluster.get(role, ())))]
        if others := sorted(set(cluster) - set(ROLES)):
            raise ValueError(f"its cluster has {', '.join(others)}")
        if not cluster:
            return 0, []
        place = addresses.index((task["type"], int(task["index"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        form = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        raise ValueError(f"TF_CONFIG must be {form}; received {text!r}. Mend or unset it.") from error
    return place, [cluster[role][number] for role, number in addresses]


def cluster_config(addresses: list[str], index: int) -> str:
    """The text of TF_CONFIG for one of several workers."""
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
