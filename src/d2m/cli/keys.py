"""Checks of overrides against the config that they change: unknown keys, keys that nothing reads, and types."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from d2m.cli.command_line import one_line
from d2m.cli.overrides import SYNONYMS, check_types, expand_home, quote
from d2m.core.errors import D2MError
from d2m.train.trainer_options import ELSEWHERE

#: Nodes with user-defined keys; the code that reads them checks them.
FREE = ("hydra", "clean", "groups", "names", "data.corpus.clean", "data.corpus.groups")


def _walk(plain: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(plain, dict):
        for key, value in plain.items():
            name = f"{prefix}{key}"
            if not str(key).startswith("_"):
                yield name
            yield from _walk(value, f"{name}.")


def _exists(plain: Any, path: list[str]) -> bool:
    for part in path:
        if isinstance(plain, list):
            return True  # the elements are checked where they are read
        if not isinstance(plain, dict) or part not in plain:
            return False
        plain = plain[part]
    return True


def _is_read(plain: Any, path: list[str]) -> bool:
    """Whether a key that is not in the config is an argument of the target above it, or in a node of :data:`FREE`."""
    if any(path[: len(free.split("."))] == free.split(".") for free in FREE):
        return True
    target, argument, closed = None, "", False
    node = plain
    for part in path:
        if isinstance(node, dict) and "_target_" in node:
            target, argument, closed = node["_target_"], part, False
        elif isinstance(node, dict) and node:
            closed = True  # a node of the config with a fixed set of keys
        node = node.get(part) if isinstance(node, dict) else None
    if target is None or closed:
        return False
    if argument.startswith("_"):
        return True
    parameters = _parameters(target)
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _is_hydras(plain: Any, path: list[str]) -> bool:
    """Whether Hydra or one of its plugins reads a key of ``hydra`` that is not in the config."""
    if path[1] in ("run", "sweep", "job", "launcher"):  # launchers accept only what their configs list
        return len(path) > 3
    if path[1] != "sweeper" or path[2:3] in (["params"], ["default_params"]):
        return True
    node = _node(plain, path[:-1])
    return "_target_" in node and path[-1] in _parameters(node["_target_"])


def _parameters(target: str) -> Mapping[str, inspect.Parameter]:
    from hydra.utils import get_object

    return inspect.signature(get_object(target)).parameters


def _node(plain: Any, path: list[str]) -> Mapping[str, Any]:
    """The mapping at a path; {} if there is none."""
    for part in path:
        plain = plain.get(part) if isinstance(plain, dict) else None
    return plain if isinstance(plain, dict) else {}


def _is_switch(plain: Any, path: list[str]) -> bool:
    """Whether a key that is not in the config is an argument of the target above it with a boolean default."""
    node = _node(plain, path[:-1])
    if "_target_" not in node:
        return False
    parameter = _parameters(node["_target_"]).get(path[-1])
    return parameter is not None and isinstance(parameter.default, bool)


def _refusal(plain: Any, written: str, key: str, command: str) -> D2MError:
    """The error for a key that is not in the config, with the key that is probably meant."""
    if key.startswith("trainer.") and key.split(".")[1] in ELSEWHERE:
        return D2MError(f"{written}: give {ELSEWHERE[key.split('.')[1]]}")
    known = [k for k in _walk(plain) if k.startswith("hydra.") == key.startswith("hydra.")]
    last = key.rpartition(".")[2]
    near = [k for k in known if k.rpartition(".")[2] == last or k == SYNONYMS.get(key)]
    near += get_close_matches(key, known, n=3, cutoff=0.7)
    tails = {k.rpartition(".")[2]: k for k in reversed(known)}
    near += [tails[t] for t in get_close_matches(last, tails, n=2, cutoff=0.75)]
    hint = f"did you mean {' or '.join(dict.fromkeys(near[:4]))}?" if near else f"d2m {command} --help shows the keys"
    return D2MError(f"{written}: no such key, nothing reads it; {hint}")


def _check_choice(group: str, value: Any, options: list[str]) -> None:
    for choice in value if isinstance(value, list) else [value]:
        if str(choice) not in options:
            near = get_close_matches(str(choice), options, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise D2MError(f"{group}={choice}: {hint}choose from {', '.join(options)}")


def _values(override: Any) -> list[Any]:
    """The values of an override: one, or those that a sweep lists."""
    if not override.is_sweep_override():
        return [override.value()]
    listed = getattr(override.value(), "list", None)
    if not isinstance(listed, list):
        return []
    return [getattr(v, "text", v) for v in listed]  # a QuotedString's value is its text


def check_overrides(
    overrides: list[str], config_name: str, command: str, multirun: bool, shown: bool = False
) -> list[str]:
    """Check that every override has an effect and a value of the right type. Call it while Hydra is initialised.

    Args:
        multirun: -m is given. shown: --cfg or --info is given.

    Returns:
        the overrides, followed by those that expand ``~`` in Hydra's own folders.

    Raises:
        D2MError: names the key, and the one that is probably meant.
    """
    from hydra import compose
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import RangeSweep
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    for argument in overrides:
        if argument.startswith(("=", "@")) or ("=" not in argument and not argument.startswith("~")):
            raise D2MError(f"'{argument}': write key=value; d2m {command} --help shows the keys")
    loader = GlobalHydra.instance().config_loader()
    parser = OverridesParser.create()
    groups: list[str] = []
    values: list[tuple[str, str, Any]] = []
    sweeps: list[str] = []
    nulls: list[str] = []
    deleted: list[tuple[str, str]] = []
    for argument in overrides:
        try:
            override = parser.parse_override(argument)
        except HydraException as e:
            raise D2MError(f"{argument}: {one_line(e)}; quote its strings: {{key: 'a b'}}, ['a b','c d']") from e
        key = override.key_or_group
        options = loader.get_group_options(key)
        if override.is_sweep_override():
            sweeps.append(argument)
        if override.is_delete():
            if not options:
                deleted.append((argument, key))
            continue
        if (options or "/" in key or override.package) and not isinstance(override.value(), dict):
            given = _values(override)
            if given == [None]:
                nulls.append(argument)
                continue
            if options:
                for value in given:
                    _check_choice(key, value, options)
            head, _, _ = argument.partition("=")
            first = given[0] if given else None
            groups.append(argument if not override.is_sweep_override() else f"{head}={first}")
        else:
            values.append((argument.partition("=")[0], key, override))
    base = compose(config_name, groups, return_hydra_config=True)
    if sweeps and shown:
        raise D2MError(f"{sweeps[0]}: several values; --cfg and --info show one config: give one value per key")
    if sweeps and not multirun and str(base.hydra.mode).rpartition(".")[2] != "MULTIRUN":
        raise D2MError(f"{sweeps[0]}: several values; write a list as [a,b], or add -m to run once per value")
    plain: Any = OmegaConf.to_container(base, resolve=False)
    for argument in nulls:  # Hydra accepts no null for a group, although it is the default of some
        group = argument.partition("=")[0]
        if group in plain:
            raise D2MError(f"{argument}: choose from {', '.join(loader.get_group_options(group))}")
    for argument, key in deleted:
        path = key.split(".")
        if not _exists(plain, path):
            raise _refusal(plain, argument, key, command)
        if not any("_target_" in _node(plain, p) for p in (path, path[:-1])) and path[0] not in FREE:
            raise D2MError(f"{argument}: d2m {command} reads this key; give it another value: {key}=...")
    for written, key, override in values:
        path = key.split(".")
        exists = _exists(plain, path)
        if not exists and not _is_read(plain, path):
            raise _refusal(plain, written, key, command)
        if key.startswith("trainer.") and path[1] in ELSEWHERE:
            raise _refusal(plain, written, key, command)
        if not exists and not override.is_add() and not override.is_force_add() and not key.startswith("hydra."):
            raise D2MError(f"{key}: not in the default config; add it as +{key}={override.get_value_string()}")
        if exists and override.is_add():
            raise D2MError(f"{written}: already in the config; write {key}={override.get_value_string()}")
        if not exists and _is_switch(plain, path):
            for value in _values(override):
                if not isinstance(value, bool) and "${" not in str(value):
                    raise D2MError(f"{written}={value}: expected true or false")
        if not exists and path[0] == "hydra" and not _is_hydras(plain, path):
            raise _refusal(plain, written, key, command)
        if key in ("hydra.run.dir", "hydra.sweep.dir") and override.value() in ("", None):
            raise D2MError(f"{written}=: give a folder, or leave it out")
        if isinstance(override.value(), RangeSweep) and not list(override.value().range()):
            raise D2MError(f"{written}={override.get_value_string()}: an empty range; its start comes first")
        if exists and not key.startswith("hydra."):
            default = OmegaConf.select(base, key)
            default = OmegaConf.to_container(default) if OmegaConf.is_config(default) else default
            for value in _values(override):
                check_types({key: value}, {key: default})
    added = []
    for mode in ("run", "sweep"):
        key, text = f"hydra.{mode}.dir", str(plain["hydra"][mode]["dir"])
        if expand_home(text) != text and not any(v[1] == key for v in values):
            added.append(f"{key}={quote(expand_home(text), interpolate=True)}")
    return [*(o for o in overrides if o not in nulls), *added]
