"""Pure parts of the applications in configs/: what the retired framework suite defined, tokens, the rate limit, the upstream."""

import ast
import importlib.util
import multiprocessing
import time
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"
FLASK, FASTAPI = (CONFIGS / "targets" / f"{name}-apps" for name in ("flask", "fastapi"))


def module_at(path):
    """Import a file that is on no path."""
    spec = importlib.util.spec_from_file_location(f"configs_{path.stem}", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def work():
    """The work of the overload campaign."""
    made = module_at(FLASK / "work.py")
    made.HASHES = 10
    return made


@pytest.mark.parametrize("folder", [FLASK, FASTAPI], ids=["flask", "fastapi"])
@pytest.mark.parametrize(
    ("text", "queries"),
    [(None, 1), ("", 1), ("foo", 1), ("0", 1), ("-3", 1), ("1", 1), ("20", 20), ("500", 500), ("501", 500), ("2.5", 1)],
)
def test_the_number_of_queries_is_bounded(folder, text, queries):
    """Missing and senseless numbers are 1, larger ones 500: in both applications, without their frameworks."""
    tree = ast.parse((folder / "suite.py").read_text())
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "wanted"]
    names = {}
    exec(ast.unparse(function), names)

    assert names["wanted"](text) == queries


@pytest.mark.parametrize("file", ["work.py", "templates/fortunes.html"])
def test_both_frameworks_do_the_same_work(file):
    """Byte for byte, where it is not the framework that is compared."""
    assert (FLASK / file).read_bytes() == (FASTAPI / file).read_bytes()


def test_every_package_of_an_application_is_pinned():
    """A result is of these releases."""
    for folder in (FLASK, FASTAPI):
        lines = (folder / "requirements.txt").read_text().split()
        assert lines
        assert all(line.count("==") == 1 for line in lines), folder


def test_a_token_names_its_user_until_it_expires(work):
    """Forged, expired and malformed ones name none."""
    token = work.token_for("reader", int(time.time()) + 60)

    assert work.user_of(f"Bearer {token}") == "reader"
    assert work.user_of(f"Basic {token}") is None
    assert work.user_of(f"Bearer {token[:-2]}AA") is None
    assert work.user_of(f"Bearer {work.token_for('reader', 1)}") is None
    assert work.user_of("Bearer a.b") is None
    assert work.user_of("") is None


def test_the_bucket_admits_its_rate(work, tmp_path):
    """A tenth of a second at once, then one for each time a request has earned; without a limit everything."""
    bucket = work.Bucket(100, str(tmp_path / "bucket"))

    assert [bucket.admits(1000.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert not bucket.admits(1000.005)
    assert bucket.admits(1000.011)
    # A second later it is full again: ten at once, and then one every 10 ms.
    assert sum(bucket.admits(1002.0 + i / 1000) for i in range(1000)) in range(108, 111)
    assert all(work.Bucket(0, str(tmp_path / "none")).admits() for _ in range(1000))


def _admitted(path, count, into):
    bucket = module_at(FLASK / "work.py").Bucket(50, path)
    into.put(sum(bucket.admits(2000.0) for _ in range(count)))


@pytest.mark.process
def test_workers_share_one_bucket(tmp_path):
    """Four processes together get what one would have got."""
    context = multiprocessing.get_context("spawn")
    counts = context.Queue()
    workers = [context.Process(target=_admitted, args=(str(tmp_path / "bucket"), 20, counts)) for _ in range(4)]
    for worker in workers:
        worker.start()
    admitted = sum(counts.get(timeout=30) for _ in workers)
    for worker in workers:
        worker.join(30)

    assert admitted == 5


def test_the_upstream_answers_with_the_number_in_its_path():
    """And 404 for anything else."""
    upstream = module_at(CONFIGS / "services" / "upstream" / "upstream.py")

    assert upstream.path_of(b"GET /3 HTTP/1.1\r\nHost: a") == "/3"
    assert upstream.path_of(b"nonsense") == ""
    assert upstream.answer_to("/3").endswith(b'Content-Length: 11\r\n\r\n{"value":3}')
    assert upstream.answer_to("/3").startswith(b"HTTP/1.1 200 OK\r\n")
    assert upstream.answer_to("/x").startswith(b"HTTP/1.1 404 Not Found\r\n")
