"""The kinds of fault: what is done to a run of the chain, what is mended afterwards, and what must then be true."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import damage, disks
from tests.faults.injection import BALLAST, Fault
from tests.faults.workbench import STORE, Ended, Workbench, copied, write_workbench

ATTEMPTS = 3  # of the same command after a fault; each but the last must have said what to do


@dataclass
class Reference:
    """Undisturbed runs: one workspace as it is before a run, and as it is after; what they left; how long and how many events."""

    fresh: Workbench
    done: Workbench
    results: dict[str, str]
    events: int
    seconds: float


def reference(folder: Path, threads: int = 1) -> Reference:
    """Run the chain undisturbed.

    Raises:
        RuntimeError: it failed; with its log.
    """
    fresh = write_workbench(folder / "fresh", threads=threads)
    done = copied(fresh, folder / "done")
    fresh.run(commands=[fresh.commands()[0]])  # the server starts
    shutil.rmtree(fresh.folder / "artifacts")
    start, count = time.monotonic(), folder / "events"
    ended = done.run(Fault(counted=str(count)))
    if ended.code:
        raise RuntimeError(f"an undisturbed run failed\n{ended.text[-4000:]}")
    return Reference(fresh, done, done.results(), int(count.read_text()), time.monotonic() - start)


@dataclass
class Trial:
    """One fault and what came of it.

    Attributes:
        problems: what must not be; empty where all is well.
        outcome: `identical` (the same command ended with the undisturbed run's bytes) or `message` (it failed first, and said in one
            message what to do; after that it did).
        messages: what a user was told.
    """

    kind: str
    seed: int
    detail: str = ""
    outcome: str = "identical"
    problems: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


class Scene:
    """A workspace of one trial."""

    def __init__(self, ref: Reference, folder: Path, rng: random.Random, trial: Trial) -> None:
        self.ref, self.folder, self.rng, self.trial = ref, folder, rng, trial

    def fresh(self) -> Workbench:
        return copied(self.ref.fresh, self.folder / "w")

    def done(self) -> Workbench:
        return copied(self.ref.done, self.folder / "w")

    def moment(self) -> int:
        """One of the chain's events."""
        return self.rng.randint(1, self.ref.events)

    def told(self, ended: Ended, *names: str) -> None:
        """The run failed: it must have said what to do in one message, and named one of these."""
        self.trial.outcome = "message"
        self.trial.messages.append(ended.message[:600] or ended.text[-600:])
        if not ended.clear():
            self.trial.problems.append(f"no clear message (exit {ended.code}):\n{ended.text[-1500:]}")
        elif names and not any(name in ended.message for name in names):
            self.trial.problems.append(f"the message names none of {names}: {ended.message}")

    def whole(self, bench: Workbench) -> None:
        """Nothing half-written stands under a final name."""
        self.trial.problems += [f"half-written: {why}" for why in bench.half_written()]

    def again(self, bench: Workbench, kept: dict[str, tuple[int, int]] | None = None, *names: str) -> None:
        """The same command, until it ends well; then the results are the undisturbed run's, and `kept` entries were not made again."""
        for attempt in range(1, ATTEMPTS + 1):
            ended = bench.run()
            if ended.code == 0:
                break
            self.told(ended, *names)
            follow(bench, ended)
            if attempt == ATTEMPTS:
                self.trial.problems.append(f"still fails at attempt {ATTEMPTS}")
                return
        found = bench.results()
        wrong = {name for name in self.ref.results | found if self.ref.results.get(name) != found.get(name)}
        if wrong:
            self.trial.problems.append(f"results differ: {', '.join(sorted(wrong)[:5])}")
        now = bench.entries()
        lost = [name for name, state in (kept or {}).items() if now.get(name) != state]
        if lost:
            self.trial.problems.append(f"{len(lost)} finished items were made again: {lost[0]}")


def guarded(trial: Trial, folder: Path, fault: Callable[[Trial], None]) -> Trial:
    """Play a fault in a folder that is not there before and gone after; what it raises is a problem of the trial."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        fault(trial)
    except Exception as error:
        trial.problems.append(f"{type(error).__name__}: {error}")
    shutil.rmtree(folder, ignore_errors=True)
    return trial


def follow(bench: Workbench, ended: Ended) -> None:
    """Do what the message says a person should: delete the file that it names."""
    if "delete it" not in ended.message:
        return
    for path in sorted((bench.folder / "artifacts").rglob("*.json*")):
        name = str(path.relative_to(bench.folder))
        if path.is_file() and name in ended.message and STORE not in name:
            path.unlink()


def _killed(scene: Scene, bench: Workbench, kills: int = 1) -> None:
    """What holds after kills: all is whole, at most the items in work are gone, and the same command ends the same."""
    scene.whole(bench)
    kept, working = bench.entries(), bench.in_progress()
    if working > bench.threads * kills:
        scene.trial.problems.append(f"{working} items were in work")
    scene.trial.detail += f"; {len(kept)} of {len(scene.ref.done.entries())} items kept"
    scene.again(bench, kept)


def kill_at_event(scene: Scene) -> None:
    bench, at = scene.fresh(), scene.moment()
    scene.trial.detail = f"event {at} of {scene.ref.events}"
    bench.run(Fault("kill", at))
    _killed(scene, bench)


def kill_at_time(scene: Scene) -> None:
    bench, after = scene.fresh(), scene.rng.uniform(0.0, scene.ref.seconds)
    scene.trial.detail = f"after {after:.2f} s"
    process = bench.start()
    process.join(after)
    process.kill()
    bench.end(process)
    _killed(scene, bench)


def killed_twice(scene: Scene) -> None:
    """The run that goes on is killed too."""
    bench, at = scene.fresh(), (scene.moment(), scene.moment())
    scene.trial.detail = f"events {at[0]}, then {at[1]}"
    bench.run(Fault("kill", at[0]))
    bench.run(Fault("kill", at[1]))
    _killed(scene, bench, kills=2)


def end_thread(scene: Scene) -> None:
    """At a moment while there are threads."""
    bench, at = scene.fresh(), scene.rng.randint(1, scene.ref.events // 3)
    scene.trial.detail = f"event {at} or later"
    ended = bench.run(Fault("end_thread", at, scene.rng.randrange(1 << 30)))
    if "fault: separate" not in ended.text:
        scene.trial.problems.append("there were no threads")
    if ended.code:
        scene.told(ended)
    scene.whole(bench)
    scene.again(bench, bench.entries())


def full_disk(scene: Scene) -> None:
    """The disk of the artifacts and the output is full from one moment on; later there is room again."""
    bench, at = scene.fresh(), scene.moment()
    scene.trial.detail = f"event {at}"
    with disks.small_disk(bench.folder, 64):
        copied(scene.ref.fresh, bench.folder)
        (bench.folder / "artifacts").mkdir()
        ended = bench.run(Fault("fill", at, target="artifacts"))
        if ended.code:
            scene.told(ended, "artifacts", "output")
        scene.whole(bench)
        kept = bench.entries()
        (bench.folder / "artifacts" / BALLAST).unlink(missing_ok=True)
        scene.again(bench, kept)


def no_rights(scene: Scene) -> None:
    """Nothing may be made in a folder of the artifacts or in the output, from one moment on; later it may."""
    bench, at = scene.fresh(), scene.moment()
    target = scene.rng.choice(["artifacts", "artifacts/store", "artifacts/manifests", "output"])
    for name in ("artifacts/store", "artifacts/manifests", "output"):
        (bench.folder / name).mkdir(parents=True)
    scene.trial.detail = f"{target}, event {at}"
    try:
        ended = bench.run(Fault("lock_out", at, target=target))
        if ended.code:
            scene.told(ended, target)
        scene.whole(bench)
        kept = bench.entries()
    finally:
        disks.thaw(bench.folder / target)
    scene.again(bench, kept)


def input_away(scene: Scene) -> None:
    """An input disappears in the middle of the run (an unplugged disk), and is back for the next."""
    bench, at = scene.fresh(), scene.moment()
    name = scene.rng.choice(
        sorted(str(path.relative_to(bench.folder)) for path in (bench.folder / "input").rglob("*.*"))
    )
    scene.trial.detail = f"{name}, event {at}"
    ended = bench.run(Fault("remove", at, target=name))
    if ended.code:
        scene.told(ended, name)
    scene.whole(bench)
    kept = bench.entries()
    away = bench.folder / f"{name}.away"
    if away.exists():
        away.rename(bench.folder / name)
    scene.again(bench, kept)


def input_changed(scene: Scene) -> None:
    """An input gets other content in the middle of the run; then the old file comes back, with its old time."""
    bench, at = scene.fresh(), scene.moment()
    names = sorted(path for path in (bench.folder / "input").rglob("*.wav"))
    path = scene.rng.choice(names)
    other = scene.rng.choice([name for name in names if name != path])
    shutil.copyfile(other, path.with_name(path.name + ".other"))
    backup = scene.folder / "backup"
    shutil.copy2(path, backup)
    name = str(path.relative_to(bench.folder))
    scene.trial.detail = f"{name}, event {at}"
    ended = bench.run(Fault("replace", at, target=name))
    path.with_name(path.name + ".other").unlink()
    if ended.code:
        scene.told(ended, name)
    shutil.copy2(backup, path)
    scene.again(bench)


def damaged_store(scene: Scene) -> None:
    """A file of the store is damaged between two runs; what comes after it has to be made again."""
    _store_harmed(scene, quiet=False)


def bit_rot(scene: Scene) -> None:
    """As `damaged_store`, and the file keeps its size and its time."""
    _store_harmed(scene, quiet=True)


def _store_harmed(scene: Scene, *, quiet: bool) -> None:
    bench = scene.done()
    found = [path for path in damage.store_files(bench.folder / STORE) if not (quiet and path.suffix == ".json")]
    path = scene.rng.choice(found)
    how = damage.harm(path, scene.rng, "flip" if quiet else None, quiet=quiet)
    scene.trial.detail = f"{how}: {path.relative_to(bench.folder / STORE)}"
    # all that is behind the damaged stage is to be made again, so that the damaged file is read if anything reads it
    keep = ("ingest", *path.relative_to(bench.folder / STORE).parts[:1])
    for stage in (bench.folder / STORE).iterdir():
        if stage.name not in keep and scene.rng.random() < 0.7:
            shutil.rmtree(stage)
    scene.again(bench, None, str(path.relative_to(bench.folder)), path.stem.split(".")[0])


def damaged_in_use(scene: Scene) -> None:
    """A finished file is damaged while later stages are at work."""
    bench, at = scene.fresh(), scene.moment()
    scene.trial.detail = f"event {at}"
    ended = bench.run(Fault("damage", at, scene.rng.randrange(1 << 30), target=STORE))
    if ended.code:
        scene.told(ended)
    scene.again(bench)


def damaged_artifact(scene: Scene) -> None:
    """A manifest, a model's record, the figures or an output is damaged between two runs."""
    bench = scene.done()
    folders = ("manifests", "models", "eval")
    paths = [path for name in folders for path in sorted((bench.folder / "artifacts" / name).rglob("[!.]*.*"))]
    path = scene.rng.choice(paths + sorted((bench.folder / "output").rglob("[!.]*.*")))
    name = str(path.relative_to(bench.folder))
    how = damage.harm(path, scene.rng, scene.rng.choice(["cut", "empty", "zeros", "garbage", "delete"]))
    scene.trial.detail = f"{how}: {name}"
    if name.startswith("output/") and path.exists() and bench.results()[name] != scene.ref.results[name]:
        ended = bench.run()  # it could be somebody's edit: it is named, and made again once it is gone
        if ended.code or name.removeprefix("output/") not in ended.text:
            scene.trial.problems.append(f"a changed output is not named (exit {ended.code}):\n{ended.text[-1500:]}")
        path.unlink()
    commands = bench.commands()
    # the job that makes the file is not run again, as Snakemake would not: the next ones meet the damage
    readers = [command for command in commands if name in command[1:] and name not in outputs_of(command)]
    for command in readers[:1]:
        ended = bench.run(commands=[command])
        if ended.code:
            scene.told(ended, name)
    scene.again(bench)


def outputs_of(command: list[str]) -> list[str]:
    """The files that a command of the chain makes."""
    if command[0] == "collect":
        return command[-3::2]
    return [next(part for part in reversed(command[: command.index(next(p for p in command if p.startswith("--")))]))]


def cut_model(scene: Scene) -> None:
    """A model's file is cut in half after it was fetched; later the whole file is put back."""
    bench = scene.fresh()
    path = bench.folder / f"{scene.rng.choice(['tiny_a', 'tiny_denoiser'])}.safetensors"
    content, info = path.read_bytes(), path.stat()
    commands = bench.commands()
    fetched = [command for command in commands if command[0] in ("ingest", "fetch-model")]
    bench.run(commands=fetched)
    how = damage.harm(path, scene.rng, scene.rng.choice(["cut", "flip", "zeros", "delete"]))
    scene.trial.detail = f"{how}: {path.name}"
    ended = bench.run(commands=commands[len(fetched) :])
    if ended.code:
        scene.told(ended, path.name)
    else:
        scene.trial.problems.append("a damaged model was used")
    path.write_bytes(content)
    damage.os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    scene.again(bench)


def two_at_once(scene: Scene) -> None:
    """Two runs work on the same folder: orphans of a killed run, or a second person on another machine."""
    bench, wait = scene.fresh(), scene.rng.uniform(0, scene.ref.seconds)
    scene.trial.detail = f"the second after {wait:.2f} s"
    first = bench.start(log="first")
    first.join(wait)
    second = bench.start(log="second")
    for process, log in ((first, "first"), (second, "second")):
        ended = bench.end(process, log)
        if ended.code:
            scene.trial.problems.append(f"{log}: exit {ended.code}\n{ended.text[-1500:]}")
    scene.whole(bench)
    scene.again(bench, bench.entries())


@dataclass(frozen=True)
class Kind:
    """A kind of fault: its line in the table, how many of a campaign of 100 are of it, and what it needs."""

    title: str
    play: Callable[[Scene], None]
    share: int
    threads: int = 1
    needs: Callable[[Path], bool] = lambda folder: True


def can_freeze(folder: Path) -> bool:
    return disks.freezing() is not None


KINDS = {
    "kill": Kind("kill -9 of a job between two file operations", kill_at_event, 18),
    "kill_time": Kind("kill -9 of a job at any time", kill_at_time, 8),
    "kill_threads": Kind("kill -9 of a job with three recordings in work", kill_at_event, 4, threads=3),
    "kill_twice": Kind("kill -9, and again while it goes on", killed_twice, 4),
    "thread": Kind("a worker thread is ended", end_thread, 6, threads=3),
    "full_disk": Kind("disk full (tmpfs)", full_disk, 9, needs=disks.can_mount),
    "no_rights": Kind("folder made read-only", no_rights, 8, needs=can_freeze),
    "input_away": Kind("input removed while it is worked on, later back", input_away, 8),
    "input_changed": Kind("input replaced while it is worked on, later back", input_changed, 6),
    "damaged_store": Kind("store entry damaged between runs", damaged_store, 9),
    "bit_rot": Kind("store entry damaged, size and time as before", bit_rot, 4),
    "damaged_in_use": Kind("store entry damaged during a run", damaged_in_use, 5),
    "damaged_artifact": Kind("manifest, record, figures or output damaged", damaged_artifact, 9),
    "cut_model": Kind("model file cut or changed", cut_model, 4),
    "two_at_once": Kind("two runs at once on one folder", two_at_once, 4),
}


def scene_of(ref: Reference, folder: Path, kind: str, seed: int) -> Trial:
    """Play one fault; never raises: what goes wrong in it is a problem of the trial."""
    trial = Trial(kind, seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with nullcontext():
        try:
            KINDS[kind].play(Scene(ref, folder, random.Random(f"{kind}-{seed}"), trial))
        except Exception as error:
            trial.problems.append(f"{type(error).__name__}: {error}")
    shutil.rmtree(folder, ignore_errors=True)
    return trial
