"""Which kernels a process has: by compiler, sources, processor and environment."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.vectors import kernels as room
from galaxy_fl.vectors.kernels import NativeKernels
from galaxy_fl.vectors.kernels.native import UnavailableError

from ... import building

SAYS = "from galaxy_fl.vectors.kernels import description; print(description())"


def run(*command: str | Path, cwd: Path = building.ROOT, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def wheel(folder: Path, **environment: str) -> Path:
    """Make a wheel of the package, as pip does, and return the folder that it is unpacked in."""
    tree = folder / "tree"
    for name in ("galaxy_fl", "galaxy_chain"):
        shutil.copytree(building.ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(building.ROOT / name, tree / name)
    backend = "from setuptools.build_meta import *; import sys; to = sys.argv[1]; build_wheel(to); build_sdist(to)"
    run(sys.executable, "-c", backend, folder, cwd=tree, **environment)
    [made] = folder.glob("*.whl")
    zipfile.ZipFile(made).extractall(folder / "unpacked")
    [source] = folder.glob("*.tar.gz")
    shutil.unpack_archive(source, folder / "source", filter="data")
    return folder / "unpacked"


def sources(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.[ch]")}


def test_an_installation_with_a_compiler_has_the_kernels_and_their_sources(tmp_path: Path) -> None:
    building.compiler()
    unpacked = wheel(tmp_path)
    assert run(sys.executable, "-c", SAYS, cwd=unpacked, GALAXY_KERNELS="").startswith("C with")
    assert sources(unpacked) == sources(tmp_path / "source") == {path.name for path in building.SOURCES.iterdir()}
    assert list((tmp_path / "source").glob("*/setup.py"))


def test_an_installation_without_a_compiler_works_and_says_why_it_is_slow(tmp_path: Path) -> None:
    unpacked = wheel(tmp_path, CC="/bin/false")
    assert not list(unpacked.rglob("*.so"))
    said = run(sys.executable, "-c", SAYS, cwd=unpacked, GALAXY_KERNELS="")
    assert said == "Python, because it was not built (there was no C compiler when the package was installed)\n"


def compiled(destination: Path, *arguments: str) -> Path:
    command = [building.compiler(), "-std=c11", "-O1", "-g", *arguments, *map(str, building.SOURCES.glob("*.c"))]
    run(*command, "-lm", "-o", destination)
    return destination


def test_no_kernel_reads_or_writes_too_far_or_does_what_c_leaves_open(tmp_path: Path) -> None:
    driver = str(Path(__file__).with_name("driver.c"))
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = [building.compiler(), *sanitizers, str(probe), "-o", str(tmp_path / "probe")]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this compiler comes without sanitizers")
    program = compiled(tmp_path / "driver", *sanitizers, '-DGALAXY_SOURCES=""', driver)
    assert run(program) == "done\n"


def test_a_library_of_other_sources_is_not_called(tmp_path: Path) -> None:
    other = compiled(tmp_path / "library.so", "-shared", "-fPIC", '-DGALAXY_SOURCES="other"')
    with pytest.raises(UnavailableError, match="built from other sources: run"):
        NativeKernels(other)


def test_what_is_no_library_is_not_called(tmp_path: Path) -> None:
    path = tmp_path / "library.so"
    path.write_bytes(b"not a library")
    with pytest.raises(UnavailableError, match="can't be loaded"):
        NativeKernels(path)


@pytest.mark.skipif(platform.machine() != "x86_64" or not shutil.which("objdump"), reason="asks objdump about x86")
def test_hashing_has_no_avx_whatever_the_compiler_is_told(tmp_path: Path) -> None:
    library = building.built(tmp_path, CFLAGS="-march=native")
    hashing = run("objdump", "-d", "--no-show-raw-insn", "--disassemble=two_sha", library)
    assert "sha256rnds2" in hashing
    assert not re.findall(r"\sv[a-z0-9]+ .*[xyz]mm", hashing)
    assert "vcvtps2dq" in run("objdump", "-d", "--no-show-raw-insn", "--disassemble=encode_float_avx2", library)


@pytest.fixture
def chosen_anew() -> object:
    room.choose_anew()
    yield
    room.choose_anew()


@pytest.mark.usefixtures("chosen_anew")
def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, built_library: Path) -> None:
    def description(wanted: str, path: Path) -> str:
        monkeypatch.setenv("GALAXY_KERNELS", wanted)
        monkeypatch.setattr(room.native, "library", lambda: path)
        room.choose_anew()
        return room.description()

    assert description("python", built_library) == "Python, because GALAXY_KERNELS says so"
    assert description("c", built_library).startswith("C with")
    assert description("", built_library).startswith("C with")
    assert description("", tmp_path / "none").startswith("Python, because it was not built")
    with pytest.raises(ConfigurationError, match="GALAXY_KERNELS is c, and there are no kernels in C, because it was"):
        description("c", tmp_path / "none")
    with pytest.raises(ConfigurationError, match="'rust', expected c or python"):
        description("rust", built_library)
