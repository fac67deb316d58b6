"""What people install: the wheel alone, in a clean environment."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.support.airflow_home import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


def files(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


def metadata(wheel: Path) -> str:
    [name] = [name for name in files(wheel) if name.endswith(".dist-info/METADATA")]
    return zipfile.ZipFile(wheel).read(name).decode()


def test_it_is_typed(wheel: Path) -> None:
    assert "airflow_provider_leadmagic/py.typed" in files(wheel)


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    folders = {name.split("/")[0] for name in files(wheel)}

    assert folders == {"airflow_provider_leadmagic", f"airflow_provider_leadmagic-{version(wheel)}.dist-info"}
    assert not [name for name in files(wheel) if "test" in name.lower().removesuffix("pytest_plugin.py")]


def test_it_holds_the_licence(wheel: Path) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in files(wheel))


def test_it_needs_six_packages_and_names_the_extra(wheel: Path) -> None:
    needs = [line.removeprefix("Requires-Dist: ") for line in metadata(wheel).splitlines() if "Requires-Dist" in line]

    assert [need for need in needs if "extra ==" not in need] == [
        "apache-airflow>=2.11",
        "asgiref>=3.7",
        "requests>=2.32.2",
        "rich>=12.4.4",
        "tenacity>=8.3",
        "urllib3>=1.26.20",
    ]
    assert "Provides-Extra: sandbox" in metadata(wheel)


def test_it_installs_into_a_clean_environment_and_works_there(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    # Without Airflow, whose installation is not what is tested here: client and provider info need none.
    for arguments in (["requests>=2.32.2", "tenacity>=8.3"], ["--no-deps", str(wheel)]):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True, capture_output=True)
    program = (
        "from airflow_provider_leadmagic.client import LeadMagicClient as C;"
        "from importlib.metadata import entry_points as e;"
        "[p] = e(group='apache_airflow_provider');"
        "print(C('some-key').base_url, p.load()()['package-name'])"
    )

    done = subprocess.run([python, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["https://api.leadmagic.io", "airflow-provider-leadmagic"]


def version(wheel: Path) -> str:
    return wheel.name.split("-")[1]
