"""What one part of a campaign says about another: checked on plain data, so that it is told beside other mistakes."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.spec.repeat import SERVER

Location = tuple[Any, ...]


def wrong_references(plain: dict[str, Any]) -> Iterator[tuple[Location, str, str]]:
    """Give (location, what, hint) for everything that does not fit together; silent on what is malformed by itself."""
    targets, loads = _mapping(plain, "targets"), _mapping(plain, "loads")
    baseline = _mapping(plain, "compare").get("baseline")
    if isinstance(baseline, str) and baseline not in targets:
        yield ("compare", "baseline"), f"no target is called {baseline!r}", f"the targets are: {', '.join(targets)}"
    for name, load in loads.items():
        if not isinstance(load, dict):
            continue
        agents = load.get("agents", plain.get("agents", 2))
        for key in ("clients", "requests"):
            total = load.get(key)
            if type(total) is int and type(agents) is int and 0 < total < agents:
                yield ("loads", name, key), f"{total} {key} cannot be split over {agents} agents", "use fewer agents"
        paths = load.get("paths")
        if isinstance(paths, list) and type(agents) is int and len(paths) > agents:
            what = f"{len(paths)} paths cannot be driven by {agents} agents, one process per endpoint"
            yield ("loads", name, "paths"), what, "use more agents or fewer paths"
        clients, requests = load.get("clients"), load.get("requests")
        if type(clients) is int and type(requests) is int and clients > requests > 0:
            what = f"{clients} clients are more than {requests} requests"
            yield ("loads", name, "clients"), what, "some would have none: use fewer clients"
    template = _mapping(plain, "saturation").get("load")
    if isinstance(template, str) and template not in loads:
        yield ("saturation", "load"), f"no load is called {template!r}", f"the loads are: {', '.join(loads)}"
    yield from _wrong_globs(plain, [f"{target}/{load}" for target in targets for load in loads])
    yield from _homeless_commands(plain, targets)
    repetitions, minimum = plain.get("repetitions", 5), plain.get("minimum_valid")
    if isinstance(repetitions, dict):
        repetitions = repetitions.get("at_most", 30)
    if type(repetitions) is int and type(minimum) is int and minimum > repetitions:
        yield ("minimum_valid",), f"{minimum} is more than the {repetitions} repetitions", "ask for fewer"


def _wrong_globs(plain: dict[str, Any], names: list[str]) -> Iterator[tuple[Location, str, str]]:
    """Give the globs over case names that match none, and a matrix of which nothing remains."""
    globs: list[tuple[Location, Any]] = [(("slo", glob), glob) for glob in _mapping(plain, "slo")]
    for key in ("include", "exclude"):
        globs += [((key, i), glob) for i, glob in enumerate(_sequence(plain, key))]
    for key in ("before", "after"):
        commands = [(i, c) for i, c in enumerate(_sequence(plain, key)) if isinstance(c, dict)]
        globs += [((key, i, "cases"), command.get("cases", "*")) for i, command in commands]
    for location, glob in globs:
        if isinstance(glob, str) and names and not fnmatch.filter(names, glob):
            yield location, f"{glob!r} matches no case", f"the cases are: {', '.join(names)}"
    include, exclude = _sequence(plain, "include") or ["*"], _sequence(plain, "exclude")
    if all(isinstance(glob, str) for glob in [*include, *exclude]):
        included = {name for glob in include for name in fnmatch.filter(names, glob)}
        if included and all(any(fnmatch.fnmatch(name, glob) for glob in exclude) for name in included):
            yield ("exclude",), "nothing remains of the cases", f"they were: {', '.join(sorted(included))}"


def _homeless_commands(plain: dict[str, Any], targets: dict[str, Any]) -> Iterator[tuple[Location, str, str]]:
    """Give the commands that are for the server's host, where a target is a URL and has none."""
    urls = [name for name, target in targets.items() if isinstance(target, dict) and "url" in target]
    for key in ("before", "after"):
        for i, command in enumerate(_sequence(plain, key)):
            if isinstance(command, dict) and command.get("host", SERVER) == SERVER and urls:
                names = [f"{url}/{load}" for url in urls for load in _mapping(plain, "loads")]
                if fnmatch.filter(names, str(command.get("cases", "*"))):
                    yield (
                        (key, i),
                        f"{urls[0]!r} is a URL: it has no server host",
                        "name a host, or limit it by 'cases'",
                    )


def missing_files(plain: dict[str, Any], folder: Path) -> Iterator[tuple[Location, str, str]]:
    """Give (location, what, hint) for every file and folder that is named and not there."""
    hint = f"paths are relative to {folder}"
    for name, target in _mapping(plain, "targets").items():
        build = target.get("build") if isinstance(target, dict) else None
        context = build.get("context") if isinstance(build, dict) else build
        if not isinstance(context, str):
            continue
        dockerfile = str(build.get("dockerfile", "Dockerfile")) if isinstance(build, dict) else "Dockerfile"
        if not (folder / context).is_dir():
            yield ("targets", name, "build"), f"there is no folder {context!r}", hint
        elif not (folder / context / dockerfile).is_file():
            yield ("targets", name, "build"), f"{context!r} has no {dockerfile}", "name it with 'dockerfile'"
    for name, load in _mapping(plain, "loads").items():
        body = load.get("body_file") if isinstance(load, dict) else None
        if isinstance(body, str) and not (folder / body).is_file():
            yield ("loads", name, "body_file"), f"there is no file {body!r}", hint


def _sequence(plain: dict[str, Any], key: str) -> list[Any]:
    value = plain.get(key)
    return value if isinstance(value, list) else []


def _mapping(plain: dict[str, Any], key: str) -> dict[str, Any]:
    value = plain.get(key)
    return value if isinstance(value, dict) else {}
