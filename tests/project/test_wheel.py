"""The built wheel: its content, its metadata, and its client in an environment without Airflow."""

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


def test_the_wheel_is_typed(wheel: Path) -> None:
    assert "airflow_provider_leadmagic/py.typed" in files(wheel)


def test_the_wheel_contains_only_the_package(wheel: Path) -> None:
    folders = {name.split("/")[0] for name in files(wheel)}

    assert folders == {"airflow_provider_leadmagic", f"airflow_provider_leadmagic-{version(wheel)}.dist-info"}
    assert not [name for name in files(wheel) if "test" in name.lower().removesuffix("pytest_plugin.py")]


def test_the_wheel_contains_the_license(wheel: Path) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in files(wheel))


def test_the_wheel_requires_six_packages_and_declares_the_extra(wheel: Path) -> None:
    needs = [line.removeprefix("Requires-Dist: ") for line in metadata(wheel).splitlines() if "Requires-Dist" in line]

    assert [line for line in needs if "extra ==" not in line] == [
        "apache-airflow>=2.11",
        "asgiref>=3.7",
        "requests>=2.32.2",
        "rich>=12.4.4",
        "tenacity>=8.3",
        "urllib3>=1.26.20",
    ]
    assert "Provides-Extra: sandbox" in metadata(wheel)


def test_project_urls_are_in_one_repository(wheel: Path) -> None:
    urls = dict(re.findall(r"^Project-URL: (\w+), (\S+)$", metadata(wheel), re.MULTILINE))

    assert urls.keys() == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert [url for url in urls.values() if not url.startswith(urls["Source"])] == []


def test_the_description_has_no_relative_links(wheel: Path) -> None:
    _, _, description = metadata(wheel).partition("\n\n")
    links = re.findall(r"\]\(([^)\s]+)\)", description)

    assert len(links) > 20
    assert [link for link in links if not link.startswith("https://")] == []
    linked_files = re.findall(r"airflow-provider-leadmagic/blob/main/([^#\s]*)", "\n".join(links))
    assert len(linked_files) > 10
    assert [path for path in linked_files if not path or not (REPOSITORY / path).exists()] == []


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", REPOSITORY, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    [unpacked] = [path for path in tmp_path.iterdir() if path.is_dir()]

    rebuilt = build("wheel", unpacked, tmp_path)

    assert metadata(rebuilt) == metadata(wheel)
    assert files(rebuilt) == files(wheel)


def test_the_client_works_without_airflow(wheel: Path, tmp_path: Path) -> None:
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
