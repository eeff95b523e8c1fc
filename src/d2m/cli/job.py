"""From a command line to the command's function: Hydra's flags and overrides, checked before anything is created."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf, read_write

from d2m.bundle.run_folder import RunFolder
from d2m.cli.cluster import register_token
from d2m.cli.command_line import user_errors
from d2m.cli.commands import Command
from d2m.cli.keys import check_overrides
from d2m.cli.overrides import expand_home, is_text, prepare_overrides, with_new_names
from d2m.cli.refused import nothing_left, of_hydra
from d2m.core.errors import D2MError

#: Overrides for commands that write only to ``out``: no Hydra folder, no log.
QUIET = (
    "hydra.output_subdir=null", "hydra.run.dir=.", "hydra/job_logging=disabled", "hydra/hydra_logging=disabled",
)  # fmt: skip

register_token()

#: The words of this process's command line before the overrides.
_CALLED: list[str] = []
#: The command, once its job has begun: failures before that are Hydra's.
_BEGUN: list[str] = []


def job(command: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[DictConfig], Any]]:
    """Decorate a command's function of a composed config: expand ``~``, name missing keys, report errors on one line.

    The result can be pickled by name, as Hydra's launchers for clusters do.
    """

    def decorate(function: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
        @functools.wraps(function)
        def checked(cfg: DictConfig) -> Any:
            _BEGUN.append(command)
            # Handled here, because Hydra would print a job's exceptions itself.
            with user_errors(_trial(), _folder()), _nothing_left():
                _expand_homes(cfg)
                optional = {"raw"} if cfg.get("merge") else {"bundle", "music"} if cfg.get("state") else set()
                missing = [k for k in sorted(OmegaConf.missing_keys(cfg)) if k not in optional]
                if missing:
                    raise D2MError(f"give {' '.join(f'{k}=...' for k in missing)}; d2m {command} --help shows all")
                return function(cfg)

        return checked

    return decorate


def _nothing_left() -> AbstractContextManager[None]:
    """Context around a job that has a Hydra folder; see :func:`d2m.cli.refused.nothing_left`."""
    from hydra.types import RunMode

    hydra = _hydra()
    if hydra is None or hydra.output_subdir is None:
        return nullcontext()
    named = hydra.mode == RunMode.MULTIRUN or any(o.startswith("hydra.run.dir=") for o in hydra.overrides.hydra)
    return nothing_left(RunFolder(Path(hydra.runtime.output_dir)), of_hydra(hydra), named)


def _hydra() -> Any:
    """Hydra's own config of this job; None outside a job of Hydra."""
    from hydra.core.hydra_config import HydraConfig

    return HydraConfig.get() if HydraConfig.initialized() else None


def _trial() -> str | None:
    """The folder of this job if it is part of a sweep, else None."""
    from hydra.types import RunMode

    hydra = _hydra()
    return str(hydra.runtime.output_dir) if hydra is not None and hydra.mode == RunMode.MULTIRUN else None


def _folder() -> str:
    """What this job writes to, for error messages: the folder that Hydra made for it, if any."""
    hydra = _hydra()
    return "output" if hydra is None or hydra.output_subdir is None else str(hydra.runtime.output_dir)


def _expand_homes(node: Any, prefix: str = "") -> None:
    """Expand ``~/x`` in a config, including the user's own configs; free text keeps its ``~``."""
    for key in list(node.keys()) if OmegaConf.is_dict(node) else range(len(node)):
        name = f"{prefix}{key}"
        if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key):
            continue
        value = node[key]
        if OmegaConf.is_config(value):
            _expand_homes(value, f"{name}.")
        elif isinstance(value, str) and expand_home(value) != value and not is_text(name):
            node[key] = expand_home(value)


def launch(name: str, command: Command, words: Sequence[str], called: Sequence[str] = ()) -> None:
    """Run a command on the config composed from its command line.

    Args:
        name: of the command.
        words: Hydra's flags and overrides.
        called: the words before them, for further processes that are started like this one.

    Raises:
        D2MError: an invalid flag, key or value; nothing was created.
    """
    from hydra import version
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import _run_hydra, create_config_search_path, get_args_parser
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.global_hydra import GlobalHydra

    def refuse(message: str) -> None:
        raise D2MError(f"{message}; d2m {name} --help shows the flags")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[assignment,method-assign]
    args = parser.parse_intermixed_args(_without_hyphens(words, parser))
    multirun = args.multirun or any(o.lstrip("+").upper() == "HYDRA.MODE=MULTIRUN" for o in args.overrides)
    if multirun and not command.multirun:
        raise D2MError(f"-m: the runs of d2m {name} would overwrite each other; call it once per value")
    if args.multirun and (args.cfg is not None or args.info is not None):
        raise D2MError("--cfg and --info show one config; leave -m out, and give one value per key")
    _check_flags(args)
    flags = [] if args.config_name is None else ["--config-name", args.config_name]
    if args.config_dir is not None:
        args.config_dir = os.path.abspath(expand_home(args.config_dir))
        if not os.path.isdir(args.config_dir):
            raise D2MError(f"--config-dir={args.config_dir}: no such folder; give the folder of your configs")
        flags += ["--config-dir", args.config_dir]
    overrides = prepare_overrides(with_new_names(name, args.overrides))
    if command.quiet and any(o.lstrip("+").startswith("hydra.run.dir=") for o in overrides):
        raise D2MError(f"hydra.run.dir: d2m {name} writes to out=, and no folder of Hydra's")
    if name == "train":
        from d2m.cli.resume import begin

        told = begin(overrides, only_shown=args.cfg is not None or args.info is not None)
        if told is None:  # the run is finished already
            return
        overrides = told
    config = args.config_name or command.config
    version.setbase("1.3")
    search = create_config_search_path(str(command.conf()))
    if args.config_dir is not None:
        search.prepend("command-line", f"file://{args.config_dir}", SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    try:
        hydra = Hydra.create_main_hydra2(name.replace(" ", "-"), search)
        _use_own_sweeper()
        overrides = check_overrides(overrides, config, name, args.multirun, bool(args.cfg or args.info))
        args.overrides = [*QUIET, *overrides] if command.quiet else overrides
        _CALLED[:] = [*called, *flags]
        _BEGUN.clear()
        shown = args.cfg or args.info or args.hydra_help or args.shell_completion
        if not command.multirun and not shown:  # the mode is known; Hydra would compose the config to find out
            hydra.run(config, command.load(), args.overrides, with_log_configuration=False)
            return
    finally:
        GlobalHydra.instance().clear()
    try:
        _run_hydra(args, parser, command.load(), str(command.conf()), config)
    except (OSError, ValueError) as e:
        # Hydra creates the job's folder and opens its log there before the job begins.
        cause = next((link for link in (e, e.__cause__) if isinstance(link, OSError)), None)
        if _BEGUN or cause is None or isinstance(cause, BrokenPipeError):
            raise
        where = cause.filename or "hydra.run.dir"
        raise D2MError(f"{where}: cannot write the run here ({cause.strerror}); choose another hydra.run.dir") from e


def _check_flags(args: argparse.Namespace) -> None:
    """Check that Hydra's flags can be combined, and that each has an effect here.

    Raises:
        D2MError: they cannot, or one has none.
    """
    modes = {"--run": args.run, "--multirun": args.multirun, "--cfg": args.cfg, "--info": args.info}
    given = [name for name, value in modes.items() if value]
    if len(given) > 1:
        raise D2MError(f"{' '.join(given)}: give one of them")
    for name, value in (("--resolve", args.resolve), ("--package", args.package)):
        if value and args.cfg is None:
            raise D2MError(f"{name}: is a flag of --cfg; d2m ... --cfg job {name}")
    if args.config_path is not None:
        raise D2MError(
            f"--config-path={args.config_path}: give --config-dir={args.config_path}, which is looked at first"
        )


def _without_hyphens(words: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Rewrite ``--KEY=VALUE``, the form that W&B's sweep agents use, to ``KEY=VALUE``, and ``--json`` to ``json=true``;
    Hydra's own flags stay."""
    words = ["json=true" if w == "--json" else w for w in words]
    flags = parser._option_string_actions
    return [w[2:] if w.startswith("--") and "=" in w and w.partition("=")[0] not in flags else w for w in words]


def _use_own_sweeper() -> None:
    """Replace Hydra's default sweeper for -m by ours, in this process only.

    A file conf/hydra/sweeper/basic.yaml would work too, but with a warning for every job; a default in conf/train.yaml
    would override the choice of hparams_search.
    """
    from hydra.core.config_store import ConfigStore

    node = {"_target_": "hydra_plugins.d2m_sweepers.GridSweeper", "max_batch_size": None, "params": None}
    ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=node, provider="d2m")


def restart_as_this_job() -> None:
    """Make Lightning's launcher, which starts further processes from ``sys.argv``, start this same job.

    If it is part of a sweep, that means with its own values, in its own folder, and without sweeping again.
    """
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    with read_write(cast(Any, hydra)):
        hydra.run.dir = hydra.runtime.output_dir
    overrides = hydra.overrides
    paths = [o for o in overrides.hydra if o.startswith("hydra.searchpath=")]
    sys.argv[1:] = [*_CALLED, *overrides.task, *paths, "hydra.mode=RUN"]
