"""The extension and its packaging: built where there is a compiler, left out with a warning
where there is none.
"""

import os
import platform
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import spikedriven
from spikedriven.kernels.extension import available

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "spikedriven"
NATIVE = "csrc/"
NEEDED = {  # flags of CMakeLists.txt, as Linux names them
    "avx512": {
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512dq",
        "avx512_vnni",
        "avx512vbmi",
        "avx512_vbmi2",
    },
    "avx512bw": {"avx512f", "avx512bw", "avx512vl", "avx512dq"},
    "avxvnni": {"avx2", "avx_vnni"},
    "avx2": {"avx2"},
    "portable": set(),
}
WARNING = "spikedriven was installed WITHOUT its compiled engine"


def test_instruction_sets_are_those_of_this_cpu() -> None:
    from spikedriven.kernels import _native

    info = Path("/proc/cpuinfo")
    if platform.machine() == "x86_64" and info.exists():
        flags = set(re.search(r"^flags\s*:(.*)$", info.read_text(), re.MULTILINE).group(1).split())
        widest = os.environ.get("SPIKEDRIVEN_ISA") or next(iter(NEEDED))
        allowed = list(NEEDED)[list(NEEDED).index(widest) :]
        assert _native.instruction_sets() == [name for name in allowed if NEEDED[name] <= flags]
        known = {flag.replace("_", "") for flag in flags}
        assert {name.replace(".", "") for name in _native.cpu_features()} <= known
        assert {"popcnt", "avx2", "avx512vnni"} & known <= set(_native.cpu_features())
    else:
        assert _native.instruction_sets()[-1] == "portable"


SETS = "from spikedriven.kernels.extension import instruction_sets; print(instruction_sets())"


@pytest.mark.skipif(not available(), reason="installed without the compiled engine")
def test_a_variable_holds_the_kernels_to_an_instruction_set() -> None:
    env = {"SPIKEDRIVEN_ISA": "portable", "PYTHONPATH": source()}
    assert output_of(sys.executable, "-c", SETS, **env) == "['portable']"


@pytest.mark.skipif(not available(), reason="installed without the compiled engine")
def test_an_instruction_set_that_nobody_knows_is_one_error() -> None:
    env = {**os.environ, "SPIKEDRIVEN_ISA": "avx1024", "PYTHONPATH": source()}
    refused = subprocess.run([sys.executable, "-c", SETS], env=env, capture_output=True, text=True)
    assert refused.returncode != 0
    message = (
        'SPIKEDRIVEN_ISA is "avx1024"; it can be one of avx512, avx512bw, avxvnni, avx2, dotprod, '
        "portable"
    )
    assert refused.stderr.splitlines()[-1] == f"spikedriven.errors.InputError: {message}"


def source() -> str:
    """Where this process has the package from."""
    return str(Path(spikedriven.__file__).parents[1])


def packaged_files() -> set[str]:
    """What a wheel must hold besides the extension: everything of the package but C++ sources
    and build products.
    """
    files = (path for path in PACKAGE.rglob("*") if path.is_file())
    names = {path.relative_to(PACKAGE.parent).as_posix() for path in files}
    return {name for name in names if not name.startswith(NATIVE) and not is_product(name)}


def is_product(name: str) -> bool:
    return "__pycache__" in name or "/_native." in name


def output_of(*command: str | Path, **environment: str) -> str:
    env = {
        name: value for name, value in os.environ.items() if not name.startswith("PYT")
    } | environment
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=True
    ).stdout.strip()


def build(hook: str, source: Path, out: Path, **environment: str) -> tuple[Path, str]:
    """Calls a hook of the build backend in `source` as pip does; returns the file it made and
    all it printed.
    """
    out.mkdir(parents=True)
    call = (
        f"import scikit_build_core.build as b; b.{hook}({str(out)!r}, {{'build-dir': "
        f"{str(out / 'objects')!r}}})"
    )
    env = {**os.environ, "CMAKE_BUILD_PARALLEL_LEVEL": "2", **environment}
    made = subprocess.run(
        [sys.executable, "-c", call],
        cwd=source,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    printed = made.stdout.decode()
    assert made.returncode == 0, printed
    return next(path for path in out.iterdir() if path.suffix in (".whl", ".gz")), printed


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("build_sdist", ROOT, tmp_path_factory.mktemp("sdist") / "out")[0]


@pytest.fixture
def tree(sdist: Path, tmp_path: Path) -> Path:
    """The unpacked source distribution, in a folder with a space in its name."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "a b", filter="data")
    return next((tmp_path / "a b").iterdir())


def without_version(names: set[str]) -> set[str]:
    return {re.sub(r"^spikedriven-[^/]*\.dist-info", "dist-info", name) for name in names}


METADATA = {
    f"dist-info/{name}"
    for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
} | {"dist-info/licenses/src/spikedriven/data/embedded/fashion-mini-LICENSE.txt"}


@pytest.mark.slow
def test_sdist_holds_all_that_a_build_and_its_tests_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    native = {
        path.relative_to(ROOT).as_posix() for path in (PACKAGE / "engine" / "native").iterdir()
    }
    top = (
        "CMakeLists.txt pyproject.toml constraints.txt Makefile .gitignore PKG-INFO README.md "
        "CHANGELOG.md LICENSE"
    )
    assert (
        native | {f"src/{name}" for name in packaged_files()} | {"tests/engine/test_build.py"}
        <= names
    )
    assert {name.split("/")[0] for name in names} == {
        *top.split(),
        "CITATION.cff",
        "src",
        "tests",
        "docs",
        "tools",
        "examples",
        "cmake",
    }
    assert not any(is_product(name) for name in names)


@pytest.mark.slow
def test_wheel_from_the_sdist(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    wheel, printed = build("build_wheel", tree, out)
    assert "warning:" not in printed  # of the compiler
    with zipfile.ZipFile(wheel) as archive:
        names = without_version(set(archive.namelist()))
    extension = {name for name in names if name.startswith("spikedriven/kernels/_native.")}
    assert len(extension) == 1 and names == packaged_files() | extension | METADATA
    assert "none-any" not in wheel.name
    kernels = list((out / "objects").rglob("kernels*.o"))
    sources = list((ROOT / "csrc").glob("*/kernels*.cpp"))
    assert len(kernels) == len(sources) * (len(NEEDED) if platform.machine() == "x86_64" else 1)
    for compiled in kernels:
        assert_defines_nothing_shared(compiled)


def assert_defines_nothing_shared(compiled: Path) -> None:
    """Of an inline function in several files the linker keeps one copy, perhaps the one
    compiled for a wider CPU.
    """
    symbols = output_of("nm", "--demangle", "--defined-only", compiled)
    assert re.search(r" T sd::\w+::(\w+_)?table\(\)", symbols)
    shared = re.findall(r"^\S+ [WVu] (.*)", symbols, re.MULTILINE)
    assert not set(shared) - {"DW.ref.__gxx_personality_v0"}, (
        compiled
    )  # that one is a pointer, the same in every file


@pytest.mark.slow
def test_without_a_compiler_the_package_installs_and_says_so(tree: Path, tmp_path: Path) -> None:
    wheel, printed = build("build_wheel", tree, tmp_path / "out", CXX="/bin/false")
    assert wheel.name.endswith("-py3-none-any.whl") and printed.count(WARNING) == 1
    with zipfile.ZipFile(wheel) as archive:
        assert without_version(set(archive.namelist())) == packaged_files() | METADATA


@pytest.mark.slow
def test_an_error_in_the_sources_is_no_obstacle_either(tree: Path, tmp_path: Path) -> None:
    (tree / "csrc" / "common" / "dispatch.cpp").write_text("#error deliberate\n")
    wheel, printed = build("build_wheel", tree, tmp_path / "out")
    assert (
        wheel.name.endswith("-py3-none-any.whl")
        and printed.count(WARNING) == 1
        and "deliberate" in printed
    )


def editable(tree: Path, site: Path, **environment: str) -> None:
    """An editable installation into the folder `site`."""
    wheel, _ = build("build_editable", tree, site.with_name(site.name + "-wheel"), **environment)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)


def origin(site: Path, **environment: str) -> Path:
    """The file that a fresh interpreter imports spikedriven from, with the installation in
    `site` as its only one.
    """
    find = (
        "import importlib.util as u, site, sys; site.addsitedir(sys.argv[1]); "
        "print(u.find_spec('spikedriven').origin)"
    )
    return Path(output_of(sys.executable, "-S", "-c", find, str(site), **environment))


@pytest.mark.slow
def test_an_editable_install_gives_way_to_pythonpath_and_drops_an_old_extension(
    tree: Path, tmp_path: Path
) -> None:
    old = tree / "src" / "spikedriven" / "kernels" / "_native.so"
    old.write_text("of older sources")
    editable(tree, tmp_path / "site", CXX="/bin/false")
    assert not old.exists()
    assert origin(tmp_path / "site") == tree / "src" / "spikedriven" / "__init__.py"
    assert origin(tmp_path / "site", PYTHONPATH=str(PACKAGE.parent)) == PACKAGE / "__init__.py"


KERNEL_TESTS = (
    "tests/engine",
    "tests/neurons/test_on_cpu.py",
    "tests/kernels",
    "tests/layers",
    "tests/training/test_compact.py",
)


@pytest.mark.slow
def test_sanitized_editable_install_runs_the_tests_of_the_kernels(
    tree: Path, tmp_path: Path
) -> None:
    editable(tree, tmp_path / "site", CMAKE_ARGS="-DSD_SANITIZE=ON")
    assert len(list((tree / "src" / "spikedriven" / "engine").glob("_native.*"))) == 1
    compiler = os.environ.get("CXX", "g++")
    libraries = [
        output_of(compiler, f"-print-file-name={name}")
        for name in ("libasan.so", "libubsan.so", "libstdc++.so")
    ]
    sanitized = {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": str(tree / "src"),
    }
    env = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    } | sanitized
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *KERNEL_TESTS],
        cwd=tree,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert ran.returncode == 0, ran.stdout.decode()[-5000:]
