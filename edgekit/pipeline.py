"""`edgekit run`: the stages of an edgekit.toml, in order, each run only where its inputs changed.

The way of the data: plan the stages; for each whose needs are done, compare its inputs with those
of the last run; obtain what is not there, from the cache or by running it; put it in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edgekit import (
    build_file,
    build_paths,
    cache_directory,
    depfile,
    depfile_place,
    locking,
    pipeline_plan,
    pipeline_report,
    pipeline_running,
    pipeline_verdicts,
    run_state,
    store,
)
from edgekit.build_types import RunReport
from edgekit.errors import OutputError
from edgekit.pipeline_verdicts import Judge
from edgekit.run_state import LOCK, States
from edgekit.stage_keys import Hashes
from edgekit.store import Store

Progress = Callable[[str], None]


def run(
    path: str | Path = build_file.DEFAULT,
    *,
    jobs: int = 1,
    cache_dir: str | Path | None = None,
    depfile_path: str | Path | None = None,
    dry_run: bool = False,
    force: bool = False,
    seed: int = 0,
    trust: bool = False,
    on_progress: Progress | None = None,
) -> RunReport:
    """Makes every artifact of an edgekit.toml that is not up to date, and measures it.

    A stage that fails does not stop those that do not need it; `error` of the report says so.

    Args:
        path: The edgekit.toml.
        jobs: Stages at once. Measurements always run alone.
        cache_dir: Where outputs are kept by what they were made from; shared between projects.
        depfile_path: Where to write what was read, in the form that make and ninja read.
        dry_run: Run and write nothing; say what would be run and why.
        force: Run everything again, and replace what stands in the way.
        seed: Of every random draw.
        trust: Load models whose code cannot be known to be safe.
        on_progress: Told what is being done.

    Raises:
        BuildFileError: edgekit.toml is wrong; nothing was run.
        UserError: A file of its own, such as the cache, cannot be written.
    """
    file = build_file.read(path)
    stages = pipeline_plan.stages(file, seed=seed, trust=trust)
    if depfile_path:
        depfile_place.check(Path(depfile_path), file, stages, force=force)
    tell = on_progress or (lambda _text: None)
    kept = Store(Path(cache_dir) if cache_dir else cache_directory.default())
    cache_directory.check(kept.directory)
    directory = Path(file.directory)
    hashes = Hashes(directory)
    if dry_run:
        judge = Judge(directory, hashes, States(directory), kept, force)
        reports = pipeline_verdicts.dry_run(judge, stages)
    else:
        with _alone(directory, tell):
            judge = Judge(directory, hashes, States(directory), kept, force)
            reports = pipeline_running.finished(judge, stages, jobs, tell)
    if any(one.status == "built" for one in reports):
        kept.gc(file.cache_max_bytes or store.DEFAULT_MAX_BYTES)
    if depfile_path and not dry_run:
        depfile.write(Path(depfile_path), file, stages, list(hashes.paths))
    return pipeline_report.report(file, stages, reports)


@contextmanager
def _alone(directory: Path, tell: Progress) -> Iterator[None]:
    """One run at a time writes below `build/`."""
    outputs = directory / build_paths.OUTPUTS

    def waits() -> None:
        tell(f"another run is at work in {outputs}; waiting for it")

    with ExitStack() as stack:
        try:
            outputs.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locking.locked(outputs / LOCK, on_wait=waits))
        except FileExistsError:
            raise OutputError(
                f"cannot write {outputs}: it is no directory", f"mv {outputs} {outputs}.old"
            ) from None
        except IsADirectoryError:
            place = outputs / LOCK
            raise OutputError(f"{place} is a directory", f"mv {place} {place}.old") from None
        except OSError as error:
            raise run_state.unwritable(outputs / LOCK, error) from None
        yield
