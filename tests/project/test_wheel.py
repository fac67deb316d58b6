"""What people install: the wheel alone, in a clean environment."""

from __future__ import annotations

import re
import subprocess
import tarfile
import venv
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.support.airflow_home import REPOSITORY
from tests.support.build import build

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", REPOSITORY, tmp_path_factory.mktemp("dist"))


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


def test_its_pages_are_in_one_repository(wheel: Path) -> None:
    pages = dict(re.findall(r"^Project-URL: (\w+), (\S+)$", metadata(wheel), re.MULTILINE))

    assert pages.keys() == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert [page for page in pages.values() if not page.startswith(pages["Source"])] == []


def test_no_link_of_its_description_is_relative(wheel: Path) -> None:
    _, _, description = metadata(wheel).partition("\n\n")
    links = re.findall(r"\]\(([^)\s]+)\)", description)

    assert len(links) > 20
    assert [link for link in links if not link.startswith("https://")] == []
    files_linked_to = re.findall(r"airflow-provider-leadmagic/blob/main/([^#\s]*)", "\n".join(links))
    assert len(files_linked_to) > 10
    assert [path for path in files_linked_to if not path or not (REPOSITORY / path).exists()] == []


def test_the_source_distribution_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", REPOSITORY, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    [unpacked] = [path for path in tmp_path.iterdir() if path.is_dir()]

    again = build("wheel", unpacked, tmp_path)

    assert metadata(again) == metadata(wheel)
    assert files(again) == files(wheel)


def test_the_client_works_where_there_is_no_airflow(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    for arguments in (["requests", "tenacity"], ["--no-deps", str(wheel)]):
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
