"""One server forks everything, and nothing outlives who asked for it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from galaxy_fl.worker import forkserver

FOREIGN = "tests.galaxy_fl.worker.foreign"


def wait_until_gone(pid: int) -> None:
    for _ in range(3000):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail(f"process {pid} is still there")


def test_a_child_of_a_child_is_forked_by_the_same_server():
    with (
        forkserver.fork(f"{FOREIGN}:report") as child,
        forkserver.fork(f"{FOREIGN}:report_of_a_child") as asker,
    ):
        about = json.loads(child.connection.recv_bytes())
        about_grandchild = json.loads(asker.connection.recv_bytes())
    assert about["pid"] == child.pid
    assert about_grandchild["pid"] not in (child.pid, asker.pid)
    assert about["parent"] == about_grandchild["parent"] != os.getpid()


def test_a_child_works_in_the_directory_of_who_asked_and_ends_with_its_function(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with forkserver.fork(f"{FOREIGN}:report") as child:
        assert json.loads(child.connection.recv_bytes())["directory"] == str(tmp_path)
        assert child.wait(0) is None
        child.connection.send_bytes(b"bye")
        assert child.connection.recv_bytes() == b"bye"
        assert child.wait() == child.wait() == 0


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (f"{FOREIGN}:exit_with_three", 3),
        (f"{FOREIGN}:fail", 1),
        (f"{FOREIGN}:absent", 1),
        ("no_such_module:f", 1),
    ],
)
def test_how_a_child_ended_is_told(target, code):
    with forkserver.fork(target) as child:
        assert child.wait() == code


def test_a_signal_that_ended_a_child_is_told():
    with forkserver.fork(f"{FOREIGN}:sleep") as child:
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM


def test_closing_kills_a_child_that_is_busy_and_what_it_asked_for():
    child = forkserver.fork(f"{FOREIGN}:sleep_over_a_child")
    grandchild = int(child.connection.recv_bytes())
    child.close()
    child.close()
    wait_until_gone(child.pid)
    wait_until_gone(grandchild)


# Without a main guard on purpose: users' scripts have none.
SCRIPT = """
import os, sys
from pathlib import Path
from galaxy_fl.worker.messages import WorkerSettings
from galaxy_fl.worker.worker import Worker
from galaxy_fl.worker import forkserver
from galaxy_fl.jobs.document import BuiltinModel, JobDocument
from galaxy_fl.jobs.specification import TrainSpecification
print("script runs")
forkserver.start("preloaded")
with Worker() as worker:
    model = BuiltinModel(builtin="cnn")
    layout = worker.describe(model, TrainSpecification(), Path("vector")).layout.to_json()
    settings = WorkerSettings(data="tests.galaxy_fl.worker.foreign:environment")
    worker.prepare(JobDocument(name="cnn", model=model, layout=layout), settings)
print(Path(f"/proc/{forkserver._server.pid}/environ").read_bytes().count(b"sesame"))
child = forkserver.fork("tests.galaxy_fl.worker.foreign:sleep_over_a_child")
print(child.pid, child.connection.recv_bytes().decode())
print(forkserver._server.pid, Path(forkserver._address).parent)
if sys.argv[1] == "killed":
    sys.stdout.flush()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("end", [pytest.param("by itself", marks=pytest.mark.extended), "killed"])
def test_a_script_keeps_its_secrets_runs_once_and_leaves_nothing_behind(end, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "preloaded.py").write_text("import os; print(os.getpid(), file=open('preloaded-by', 'w'))")
    environment = os.environ | {
        "GALAXY_KEY": "open sesame",
        "GALAXY_PASSWORD": "sesame street",
        "GALAXY_TRUST": "visible",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    done = subprocess.run(
        [sys.executable, "script.py", end],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if end == "killed" else 0), done.stderr
    ran, secrets_of_server, children, server = done.stdout.splitlines()
    assert (ran, secrets_of_server) == ("script runs", "0")
    assert done.stderr == ""

    seen = json.loads((tmp_path / "environment.json").read_text())
    assert seen["GALAXY_TRUST"] == "visible"
    assert not seen.keys() & {"GALAXY_KEY", "GALAXY_PASSWORD"}
    assert b"sesame" not in (tmp_path / "environ").read_bytes()

    pid, folder = server.split(" ", 1)
    assert (tmp_path / "preloaded-by").read_text().strip() == pid
    for one in (*children.split(), pid):
        wait_until_gone(int(one))
    assert not Path(folder).exists()


def test_a_program_that_forks_nothing_does_not_wait_for_what_is_imported(tmp_path):
    (tmp_path / "endless.py").write_text("import time; time.sleep(3600)")
    program = (
        "from pathlib import Path; from galaxy_fl.worker import forkserver; forkserver.start('endless'); "
        "forkserver.LAST_IMPORT = None; print(forkserver._server.pid, Path(forkserver._address).parent)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    pid, folder = done.stdout.strip().split(" ", 1)
    wait_until_gone(int(pid))
    assert not Path(folder).exists()


def test_what_was_asked_before_is_forked_before_further_modules_are_imported(tmp_path):
    (tmp_path / "patient.py").write_text(
        "import time; from pathlib import Path\nwhile not Path('asked').exists(): time.sleep(0.01)"
    )
    (tmp_path / "own.py").write_text(
        "import sys; from pathlib import Path\n"
        "def asked(connection): Path('asked').touch()\n"
        "def has(connection): sys.exit('patient' in sys.modules)"
    )
    program = (
        "from galaxy_fl.worker import forkserver; forkserver.start('patient')\n"
        "for target in ('own:asked', 'own:has'):\n"
        "    with forkserver.fork(target) as child: print(child.wait())"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n1\n"


def test_what_others_go_before_is_forked_so_too():
    program = (
        "import os; from galaxy_fl.worker import forkserver; forkserver.start(nice=3)\n"
        f"with forkserver.fork('{FOREIGN}:sleep') as child: "
        "print(os.nice(0), *(os.getpriority(os.PRIO_PROCESS, pid) for pid in (forkserver._server.pid, child.pid)))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    own, *theirs = map(int, done.stdout.split())
    assert theirs == [own + 3, own + 3]


def test_a_fork_of_the_program_ends_without_the_server():
    program = (
        "import os, sys; from galaxy_fl.worker import forkserver; forkserver.start()\n"
        "if not (pid := os.fork()): sys.exit()\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        f"with forkserver.fork('{FOREIGN}:fail') as child: print(child.wait())"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "glibc.malloc.hugetlb=1"), ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, "glibc.malloc.hugetlb=0")],
)
def test_huge_pages_are_asked_for_unless_the_environment_says_otherwise(given, found):
    program = (
        "import json; from galaxy_fl.worker import forkserver\n"
        f"with forkserver.fork('{FOREIGN}:report') as child: "
        "print(json.loads(child.connection.recv_bytes())['tunables'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"} | given
    environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{found}\n"
