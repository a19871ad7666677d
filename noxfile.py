"""The environments that pyproject.toml promises, each by one command: `nox -s oldest`.

Interpreters are found on PATH. Each session has an editable install and a build folder of its own, and runs the whole
suite; what follows `--` goes to pytest.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["bare", "oldest", "triton", "newest"]

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())
PINNED = ("--constraint", "constraints.txt")


def oldest_versions() -> list[str]:
    """Return the lower bounds of all that is declared, as exact versions."""
    project = PROJECT["project"]
    declared = [*PROJECT["build-system"]["requires"], *project["dependencies"]]
    declared += [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    oldest = []
    for requirement in map(Requirement, declared):
        bounds = [specifier.version for specifier in requirement.specifier if specifier.operator == ">="]
        oldest += [f"{requirement.name}=={version}" for version in bounds]
    return oldest


def install(session: nox.Session, extras: str, *arguments: str, torch: tuple[str, ...] = ("torch",)) -> None:
    """Install torch, what builds the core, and then the package, so that the build sees the interpreter's packages."""
    session.install(*arguments, *torch)
    session.install(*arguments, *PROJECT["build-system"]["requires"], "cmake", "ninja")
    build = f"--config-settings=build-dir=build/{session.name}"
    session.install(*arguments, "--no-build-isolation", build, "--editable", f".[{extras}]")


def test(session: nox.Session, *arguments: str) -> None:
    """Run the suite side by side."""
    session.run("python", "-m", "pytest", "--numprocesses=auto", "--dist=worksteal", *arguments, *session.posargs)


@nox.session(python="3.11")
def bare(session: nox.Session) -> None:
    """No extras: neither Triton nor numba nor anything to compare with."""
    install(session, "test", *PINNED)
    test(session)


def constraints(session: nox.Session, versions: list[str]) -> tuple[str, str]:
    """Return pip's options that keep to versions."""
    file = Path(session.create_tmp()) / "constraints.txt"
    file.write_text("\n".join(versions))
    return "--constraint", str(file)


@nox.session(python="3.12")
def oldest(session: nox.Session) -> None:
    """The oldest versions of all that is declared but Triton, as the oldest torch is pinned to an older one."""
    versions = [version for version in oldest_versions() if not version.startswith("triton==")]
    install(session, "images,numba,plots,test", *constraints(session, versions))
    # What old packages warn of is not ours to mend.
    test(session, "--override-ini=filterwarnings=default")


@nox.session(python="3.13")
def triton(session: nox.Session) -> None:
    """The oldest Triton, the torch that is pinned to it, and a NumPy that its interpreter works with."""
    pinned = Path("constraints.txt").read_text().splitlines()
    versions = [version for version in pinned if not version.startswith(("torch==", "triton==", "numpy=="))]
    versions += [version for version in oldest_versions() if version.startswith("triton==")]
    install(session, "bench,images,triton", *constraints(session, [*versions, "torch==2.11.0", "numpy==2.3.5"]))
    # What that torch warns of on a Python as new as this is not ours to mend.
    test(session, "--override-ini=filterwarnings=default")


@nox.session(python="3.11")
def newest(session: nox.Session) -> None:
    """The newest versions, torchvision's networks among them."""
    install(session, "bench,images,vision,triton", torch=("torch", "torchvision"))
    test(session)
