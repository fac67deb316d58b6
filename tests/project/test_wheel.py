"""The distributions: their content, their metadata, and the client of the wheel in an environment without Airflow."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.airflow_home import REPOSITORY
from tests.support.build import build

pytestmark = pytest.mark.wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", REPOSITORY, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", REPOSITORY, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [source] = folder.iterdir()
    return source


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


def test_the_wheel_contains_the_files_of_the_page(wheel: Path) -> None:
    source = REPOSITORY / "airflow_provider_leadmagic" / "ui"
    needed = {path.relative_to(REPOSITORY).as_posix() for path in source.rglob("*.*") if path.suffix != ".pyc"}

    assert {"page.html", "page.css", "page.js"} <= {Path(name).name for name in needed}
    assert needed <= set(files(wheel))


def test_the_wheel_requires_only_packages_of_airflow_and_declares_the_extra(wheel: Path) -> None:
    needs = [line.removeprefix("Requires-Dist: ") for line in metadata(wheel).splitlines() if "Requires-Dist" in line]

    assert [line for line in needs if "extra ==" not in line] == [
        "apache-airflow>=2.11",
        "asgiref>=3.7",
        "jinja2>=3.1.6",
        "requests>=2.32.2",
        "rich>=12.4.4",
        "sqlalchemy>=1.4.54",
        "tenacity>=8.3",
        "urllib3>=1.26.20",
    ]
    assert "Provides-Extra: sandbox" in metadata(wheel)


def test_project_urls_are_in_one_repository(wheel: Path) -> None:
    urls = dict(re.findall(r"^Project-URL: (\w+), (\S+)$", metadata(wheel), re.MULTILINE))

    assert urls.keys() == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert [url for url in urls.values() if not url.startswith(urls["Source"])] == []


def test_the_page_of_the_package_index_has_no_relative_links(wheel: Path) -> None:
    from readme_renderer import markdown  # the package index uses it too; only `make wheel` installs it

    _, _, description = metadata(wheel).partition("\n\n")
    page = markdown.render(description)
    links = [link for link in re.findall(r'(?:href|src)="([^"]+)"', page) if not link.startswith("#user-content-")]

    assert len(links) > 20
    assert [link for link in links if not link.startswith("https://")] == []
    linked_files = re.findall(r"airflow-provider-leadmagic/blob/main/([^#\s]*)", "\n".join(links))
    assert len(linked_files) > 10
    assert [path for path in linked_files if not path or not (REPOSITORY / path).exists()] == []


def test_the_package_index_can_show_both_distributions(wheel: Path, sdist: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", wheel, sdist]

    done = subprocess.run(command, capture_output=True, text=True)

    assert done.stdout.count("PASSED") == 2, done.stdout + done.stderr
    assert done.returncode == 0


def test_the_source_distribution_contains_only_files_of_the_repository(unpacked: Path) -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    contained = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}

    assert contained - {*listed.stdout.splitlines(), "PKG-INFO"} == set()
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "hatch_build.py"} <= contained


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, unpacked: Path, tmp_path: Path) -> None:
    assert build("wheel", unpacked, tmp_path).read_bytes() == wheel.read_bytes()


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_build_can_be_reproduced_in_another_folder(
    kind: str, unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    # Without copy2, the copy has other modification times.
    copy = shutil.copytree(unpacked, tmp_path / "copy", copy_function=shutil.copy)

    first, second = build(kind, unpacked, tmp_path / "first"), build(kind, copy, tmp_path / "second")

    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_no_file_contains_a_path_of_the_machine_that_built_it(kind: str, wheel: Path, unpacked: Path) -> None:
    if kind == "wheel":
        contents = {name: zipfile.ZipFile(wheel).read(name) for name in files(wheel)}
    else:
        contents = {str(path): path.read_bytes() for path in unpacked.rglob("*") if path.is_file()}
    machine = re.compile(b"|".join(re.escape(str(path).encode()) for path in (REPOSITORY, Path.home(), sys.prefix)))

    assert len(contents) > 50
    assert {name: found[0] for name, text in contents.items() if (found := machine.search(text))} == {}


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
