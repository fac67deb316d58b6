"""Tests of the connection form: one description that every supported Airflow version accepts."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import airflow
import pytest

from airflow_provider_leadmagic.get_provider_info import CONNECTION_TYPE, get_provider_info
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from dev.local_airflow import AIRFLOW_SERIES, AIRFLOW_VERSION

jsonschema = pytest.importorskip("jsonschema")

AIRFLOW = Path(airflow.__file__).parent
needs_airflow_3_form = pytest.mark.skipif(
    AIRFLOW_SERIES == (3, 0) and not find_spec("flask_appbuilder"),
    reason="Airflow 3.0 shows forms of providers only if Flask AppBuilder is installed",
)


def find_module(name):
    try:
        return find_spec(name)
    except ModuleNotFoundError:
        return None


def airflow_schema(name):
    path = AIRFLOW / name
    if not path.is_file():
        pytest.skip(f"this Airflow does not ship {name}")
    return json.loads(path.read_text())


def test_connection_type_refers_to_the_hook():
    assert CONNECTION_TYPE["hook-class-name"] == f"{LeadMagicHook.__module__}.{LeadMagicHook.__qualname__}"
    assert (LeadMagicHook.conn_type, LeadMagicHook.hook_name) == ("leadmagic", "LeadMagic")
    assert (CONNECTION_TYPE["connection-type"], CONNECTION_TYPE["hook-name"]) == ("leadmagic", "LeadMagic")


def test_older_airflow_gets_the_same_standard_fields():
    declared = CONNECTION_TYPE["ui-field-behaviour"]
    assert LeadMagicHook.get_ui_field_behaviour() == {
        "hidden_fields": declared["hidden-fields"],
        "relabeling": declared["relabeling"],
        "placeholders": declared["placeholders"],
    }


def test_password_is_labeled_api_key_and_host_api_base_url():
    assert CONNECTION_TYPE["ui-field-behaviour"]["relabeling"] == {"password": "API key", "host": "API base URL"}


def test_no_field_is_both_hidden_and_labeled():
    behaviour = CONNECTION_TYPE["ui-field-behaviour"]
    shown = {*behaviour["relabeling"], *behaviour["placeholders"]}
    assert shown.isdisjoint(behaviour["hidden-fields"])


def test_standard_fields_match_the_schema_of_older_airflow():
    schema = airflow_schema("customized_form_field_behaviours.schema.json")
    jsonschema.validate(LeadMagicHook.get_ui_field_behaviour(), schema)


def test_declared_form_matches_the_provider_yaml_schema():
    items = airflow_schema("provider.yaml.schema.json")["properties"]["connection-types"]["items"]
    if "conn-fields" not in items["properties"]:
        pytest.skip("this Airflow does not read declared forms")
    known = items["properties"]
    # Airflow 3.2 reads hook-name from the hook class instead.
    declared = {name: value for name, value in CONNECTION_TYPE.items() if name != "hook-name" or name in known}
    jsonschema.validate(declared, {**items, "additionalProperties": False})


def test_provider_info_matches_the_schema():
    schema = airflow_schema("provider_info.schema.json")
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(get_provider_info(), schema)


def test_provider_info_is_plain_json():
    assert json.loads(json.dumps(get_provider_info())) == get_provider_info()


@pytest.mark.skipif(not find_spec("flask_appbuilder"), reason="the forms of this Airflow do not use Flask AppBuilder")
class TestWidgets:
    def form(self, **entered):
        from werkzeug.datastructures import MultiDict
        from wtforms import Form

        form_class = type("ConnectionForm", (Form,), LeadMagicHook.get_connection_form_widgets())
        return form_class(MultiDict(entered))

    def test_each_declared_field_has_a_widget(self):
        assert set(LeadMagicHook.get_connection_form_widgets()) == set(CONNECTION_TYPE["conn-fields"])

    @pytest.mark.parametrize("name", CONNECTION_TYPE["conn-fields"])
    def test_widget_has_the_declared_label_and_description(self, name):
        field = self.form()[name]
        declared = CONNECTION_TYPE["conn-fields"][name]
        assert (str(field.label.text), field.description) == (declared["label"], declared["description"])

    @pytest.mark.parametrize("entered", ['{"https": "http://proxy.example:3128"}', ""], ids=["JSON", "empty"])
    @pytest.mark.parametrize("name", ["proxies", "verify", "headers"])
    def test_text_fields_may_have_any_text_or_be_empty(self, name, entered):
        form = self.form(**{name: entered})
        assert form.validate()
        assert form[name].data == entered

    def test_field_classes_are_accepted_by_airflow(self):
        # The providers manager discards the hook, and with it the connection type, if a field has another class.
        from wtforms import BooleanField, IntegerField, PasswordField, StringField

        classes = {widget.field_class for widget in LeadMagicHook.get_connection_form_widgets().values()}
        assert classes <= {BooleanField, IntegerField, PasswordField, StringField}

    @pytest.mark.parametrize("entered", ["5", ""], ids=["number", "empty"])
    def test_timeout_may_be_a_number_or_empty(self, entered):
        form = self.form(timeout=entered)
        assert form.validate()
        assert str(form.timeout.data or "").removesuffix(".0") == entered

    @pytest.mark.parametrize("entered", ["soon", "0", "-1"])
    def test_invalid_timeout_is_rejected(self, entered):
        assert not self.form(timeout=entered).validate()


READ_FORM = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
[form] = [hook for hook in HookMetaService.hook_meta_data() if hook.connection_type == "leadmagic"]
print(form.model_dump_json())
"""


@pytest.fixture(scope="module")
def airflow_3_form():
    """Read the form in a new process: Airflow 3.1 shows none if another test has read the hooks of the providers."""
    if not find_module("airflow.api_fastapi.core_api.services.ui.connections"):
        pytest.skip("Airflow 2 shows the form with Flask AppBuilder")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", READ_FORM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@needs_airflow_3_form
def test_airflow_3_form_shows_the_declared_labels(airflow_3_form):
    standard = airflow_3_form["standard_fields"]
    assert airflow_3_form["hook_name"] == "LeadMagic"
    assert standard["password"]["title"] == "API key"
    assert standard["host"]["title"] == "API base URL"
    assert standard["host"]["placeholder"] == "https://api.leadmagic.io"
    assert all(standard[name]["hidden"] for name in ("login", "port", "url_schema"))


@needs_airflow_3_form
def test_airflow_3_form_shows_the_declared_extra_fields(airflow_3_form):
    extra_fields, declared = airflow_3_form["extra_fields"], CONNECTION_TYPE["conn-fields"]
    assert sorted(extra_fields) == sorted(declared)
    for name, field in extra_fields.items():
        shown = (field["schema"]["title"], field["description"])
        assert shown == (declared[name]["label"], declared[name]["description"])


HIDES_PROXIES = AIRFLOW_VERSION != "2.11.0" and AIRFLOW_SERIES != (3, 0)  # see docs/connection.md


def test_airflow_hides_the_proxies_of_a_connection_but_only_some_of_its_headers():
    modules = ("airflow._shared.secrets_masker", "airflow.sdk.execution_time.secrets_masker")
    modules = [*filter(find_module, modules), "airflow.utils.log.secrets_masker"]
    extra = {"proxies": {"https": "http://user:pa55word@proxy.example"}, "headers": {"X-Tenant": "a", "X-Token": "b"}}
    for proxies in (extra["proxies"], json.dumps(extra["proxies"])):
        shown = importlib.import_module(modules[0]).redact(extra | {"proxies": proxies})
        assert ("pa55word" not in str(shown)) is HIDES_PROXIES
        assert shown["headers"] == {"X-Tenant": "a", "X-Token": "***"}
