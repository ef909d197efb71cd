"""Check what one part of a campaign says about another.

This works on plain data, so that these problems are reported together with those of single values.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.slo import Term, TimeName, shown
from orchestrator.spec.messages import WEBSOCKET, is_websocket_url
from orchestrator.spec.needs import wrong_lifetimes
from orchestrator.spec.repeat import SERVER
from orchestrator.spec.rows import MOST_BYTES, BadData, read_file, short
from orchestrator.spec.service_references import wrong_service_references
from orchestrator.spec.slo import terms

Location = tuple[Any, ...]
# A message lists no more names than these.
MOST_NAMES = 12
# Every glob is matched against every case.
MOST_CASES, MOST_GLOBS = 2_000, 1_000


def wrong_references(plain: Mapping[str, Any]) -> Iterator[tuple[Location, str, str]]:
    """Yield (location, what, hint) for parts that contradict each other. Malformed parts are skipped."""
    targets, loads = _mapping(plain, "targets"), _mapping(plain, "loads")
    if too_many := list(_too_many(plain, len(targets) * len(loads))):
        yield from too_many
        return
    baseline = _mapping(plain, "compare").get("baseline")
    if isinstance(baseline, str) and baseline not in targets:
        yield ("compare", "baseline"), f"there is no target {shown(baseline)}", f"the targets are: {_list(targets)}"
    for name, load in loads.items():
        if not isinstance(load, dict):
            continue
        clients, requests = load.get("clients"), load.get("requests")
        requests = requests if type(requests) is int else load.get("count")
        if type(clients) is int and type(requests) is int and clients > requests > 0:
            what = f"{shown(clients)} clients are more than {shown(requests)} requests"
            yield ("loads", name, "clients"), what, "use at most as many clients as requests"
    template = _mapping(plain, "saturation").get("load")
    if isinstance(template, str) and template not in loads:
        yield ("saturation", "load"), f"there is no load {shown(template)}", f"the loads are: {_list(loads)}"
    yield from _wrong_globs(plain, [f"{target}/{load}" for target in targets for load in loads])
    yield from _without_response_time(plain, targets, loads)
    yield from _homeless_commands(plain, targets)
    yield from wrong_service_references(plain)
    yield from wrong_lifetimes(plain)
    yield from _mixed_protocols(targets, loads)
    repetitions, minimum = plain.get("repetitions", 5), plain.get("minimum_valid")
    if isinstance(repetitions, dict):
        repetitions = repetitions.get("at_most", 30)
    if type(repetitions) is int and type(minimum) is int and minimum > repetitions:
        what = f"{shown(minimum)} is more than the {shown(repetitions)} repetitions"
        yield ("minimum_valid",), what, f"write a number up to {shown(repetitions)}"


def _too_many(plain: Mapping[str, Any], cases: int) -> Iterator[tuple[Location, str, str]]:
    """Yield what is so large that to check and to plan it would take minutes."""
    if cases > MOST_CASES:
        yield ("loads",), f"{cases:,} cases are more than {MOST_CASES:,}", "split the campaign into several"
    for key in ("slo", "include", "exclude", "before", "after"):
        if len(_mapping(plain, key) or _sequence(plain, key)) > MOST_GLOBS:
            yield (key,), f"has more than {MOST_GLOBS:,} entries", "use globs that match several cases"


def _mixed_protocols(targets: Mapping[str, Any], loads: Mapping[str, Any]) -> Iterator[tuple[Location, str, str]]:
    """Yield the loads over HTTP of targets that are WebSocket URLs."""
    urls = [
        name for name, target in targets.items() if isinstance(target, dict) and is_websocket_url(target.get("url"))
    ]
    for name, load in loads.items() if urls else ():
        if isinstance(load, dict) and load.get("protocol") != WEBSOCKET:
            what = f"the URL of target {shown(urls[0])} is one of WebSocket, and this load sends HTTP requests"
            yield ("loads", name, "protocol"), what, "write protocol: websocket"


def _wrong_globs(plain: Mapping[str, Any], names: list[str]) -> Iterator[tuple[Location, str, str]]:
    """Yield the globs over case names that match none, and include and exclude if together they leave no case."""
    globs: list[tuple[Location, Any]] = [(("slo", glob), glob) for glob in _mapping(plain, "slo")]
    for key in ("include", "exclude"):
        globs += [((key, i), glob) for i, glob in enumerate(_sequence(plain, key))]
    for key in ("before", "after"):
        commands = [(i, c) for i, c in enumerate(_sequence(plain, key)) if isinstance(c, dict)]
        globs += [((key, i, "cases"), command.get("cases", "*")) for i, command in commands]
    for location, glob in globs:
        if isinstance(glob, str) and names and not fnmatch.filter(names, glob):
            yield location, f"{shown(glob)} matches no case", f"the cases are: {_list(names)}"
    include, exclude = _sequence(plain, "include") or ["*"], _sequence(plain, "exclude")
    if all(isinstance(glob, str) for glob in [*include, *exclude]):
        included = {name for glob in include for name in fnmatch.filter(names, glob)}
        if included and all(any(fnmatch.fnmatch(name, glob) for glob in exclude) for name in included):
            yield ("exclude",), "no case is left", f"exclude fewer of: {_list(sorted(included))}"


def _without_response_time(
    plain: Mapping[str, Any], targets: Mapping[str, Any], loads: Mapping[str, Any]
) -> Iterator[tuple[Location, str, str]]:
    """Yield the objectives for the response time of a closed load, which has none."""
    closed = [
        name for name, load in loads.items() if isinstance(load, dict) and load.get("model", "closed") == "closed"
    ]
    for glob, text in _mapping(plain, "slo").items():
        cases = [f"{target}/{load}" for target in targets for load in closed]
        matched = fnmatch.filter(cases, glob) if isinstance(glob, str) else []
        for term in _terms(text) if matched else []:
            if term.time == TimeName.RESPONSE:
                what = f"{shown(term.text)} matches {matched[0]}, a closed loop, which has no response time"
                yield ("slo", glob), what, "write 'service', or limit the glob to open loads"


def _terms(text: Any) -> list[Term]:
    """Return the terms of an objective; none where it cannot be read, which is reported with the value itself."""
    try:
        return terms(text) if isinstance(text, str) else []
    except ValueError:
        return []


def _homeless_commands(plain: Mapping[str, Any], targets: Mapping[str, Any]) -> Iterator[tuple[Location, str, str]]:
    """Yield the commands for the server's host that would run around trials of a URL, which has no such host."""
    urls = [name for name, target in targets.items() if isinstance(target, dict) and "url" in target]
    for key in ("before", "after"):
        for i, command in enumerate(_sequence(plain, key)):
            if isinstance(command, dict) and command.get("host", SERVER) == SERVER and urls:
                names = [f"{url}/{load}" for url in urls for load in _mapping(plain, "loads")]
                if fnmatch.filter(names, str(command.get("cases", "*"))):
                    what = f"target {urls[0]!r} is a URL: it has no server host"
                    yield (key, i), what, "set 'host' to another host, or limit 'cases' to other targets"


def missing_files(plain: Mapping[str, Any], folder: Path) -> Iterator[tuple[Location, str, str]]:
    """Yield (location, what, hint) for every file and folder that does not exist."""
    hint = f"write a path relative to {folder}"
    containers = [(key, name, one) for key in ("targets", "services") for name, one in _mapping(plain, key).items()]
    for key, name, container in containers:
        build = container.get("build") if isinstance(container, dict) else None
        context = build.get("context") if isinstance(build, dict) else build
        if not isinstance(context, str):
            continue
        dockerfile = build.get("dockerfile", "Dockerfile") if isinstance(build, dict) else "Dockerfile"
        if not _is_folder(folder / context):
            yield (key, name, "build"), f"there is no folder {shown(context)}", hint
        elif isinstance(dockerfile, str) and not is_file(folder / context / dockerfile):
            what = f"there is no {shown(dockerfile)} in {shown(context)}"
            yield (key, name, "build"), what, "set 'dockerfile' to its path in that folder"
    for name, load in _mapping(plain, "loads").items():
        if not isinstance(load, dict):
            continue
        named: list[tuple[Location, Any]] = [(("loads", name), load)]
        named += [(("loads", name, "requests", i), each) for i, each in enumerate(_sequence(load, "requests"))]
        for location, sent in named:
            for key in ("body_file", "message_file") if isinstance(sent, dict) else ():
                body = sent.get(key)
                if isinstance(body, str):
                    yield from _wrong_file(
                        (*location, key), folder, body, key == "message_file" and not sent.get("binary")
                    )


def _wrong_file(location: Location, folder: Path, name: str, as_text: bool) -> Iterator[tuple[Location, str, str]]:
    """Yield the file of a body or message that cannot be sent. as_text: it must be UTF-8."""
    path = folder / name
    if not is_file(path):
        yield location, _no_file(path, name), f"write a path relative to {folder}"
        return
    try:
        if as_text:
            read_file(path, short(name)).decode()
        elif path.stat().st_size > MOST_BYTES:
            yield location, f"{shown(name)} is larger than {MOST_BYTES >> 20} MiB", "use a smaller file"
    except BadData as error:
        yield location, str(error), error.hint
    except UnicodeDecodeError:
        yield location, f"{shown(name)} is not UTF-8 text", "add binary: true to send it as it is"


def _no_file(path: Path, name: str) -> str:
    try:
        there = path.exists()
    except (OSError, ValueError):
        there = False
    return f"{shown(name)} is not a regular file" if there else f"there is no file {shown(name)}"


def is_file(path: Path) -> bool:
    """Return whether there is a file. A path that no file can have, such as one that is too long, has none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _list(names: Iterable[str]) -> str:
    """Return names as a message lists them: the first few, and how many more there are."""
    all_names = list(names)
    more = f" and {len(all_names) - MOST_NAMES} more" if len(all_names) > MOST_NAMES else ""
    return ", ".join(all_names[:MOST_NAMES]) + more


def _are(count: int, things: str) -> str:
    return f"is 1 {things.removesuffix('s')}" if count == 1 else f"are {shown(count)} {things}"


def _sequence(plain: Mapping[str, Any], key: str) -> list[Any]:
    value = plain.get(key)
    return value if isinstance(value, list) else []


def _mapping(plain: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = plain.get(key)
    return value if isinstance(value, dict) else {}
