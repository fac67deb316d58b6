"""The connection form: one description, understood by every Airflow we support."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import airflow
import pytest

from airflow_provider_leadmagic.get_provider_info import CONNECTION_TYPE, get_provider_info
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from dev.local_airflow import AIRFLOW_SERIES

jsonschema = pytest.importorskip("jsonschema")

AIRFLOW = Path(airflow.__file__).parent
needs_a_form_of_airflow_3 = pytest.mark.skipif(
    AIRFLOW_SERIES == (3, 0) and not find_spec("flask_appbuilder"),
    reason="Airflow 3.0 draws forms of providers only where Flask AppBuilder is installed",
)


def airflow_schema(name):
    path = AIRFLOW / name
    if not path.is_file():
        pytest.skip(f"this Airflow ships no {name}")
    return json.loads(path.read_text())


def test_the_hook_carries_what_the_form_is_registered_under():
    assert CONNECTION_TYPE["hook-class-name"] == f"{LeadMagicHook.__module__}.{LeadMagicHook.__qualname__}"
    assert (LeadMagicHook.conn_type, LeadMagicHook.hook_name) == ("leadmagic", "LeadMagic")
    assert (CONNECTION_TYPE["connection-type"], CONNECTION_TYPE["hook-name"]) == ("leadmagic", "LeadMagic")


def test_older_airflow_is_told_the_same_about_the_standard_fields():
    declared = CONNECTION_TYPE["ui-field-behaviour"]
    assert LeadMagicHook.get_ui_field_behaviour() == {
        "hidden_fields": declared["hidden-fields"],
        "relabeling": declared["relabeling"],
        "placeholders": declared["placeholders"],
    }


def test_the_password_is_called_api_key_and_the_host_api_base_url():
    assert CONNECTION_TYPE["ui-field-behaviour"]["relabeling"] == {"password": "API key", "host": "API base URL"}


def test_no_field_is_both_hidden_and_labelled():
    behaviour = CONNECTION_TYPE["ui-field-behaviour"]
    shown = {*behaviour["relabeling"], *behaviour["placeholders"]}
    assert shown.isdisjoint(behaviour["hidden-fields"])


def test_older_airflow_accepts_the_standard_fields():
    schema = airflow_schema("customized_form_field_behaviours.schema.json")
    jsonschema.validate(LeadMagicHook.get_ui_field_behaviour(), schema)


def test_the_declared_form_is_what_airflow_accepts_in_a_provider_yaml():
    items = airflow_schema("provider.yaml.schema.json")["properties"]["connection-types"]["items"]
    if "conn-fields" not in items["properties"]:
        pytest.skip("this Airflow reads no declared form")
    known = items["properties"]
    # Airflow 3.2 takes the name from the hook.
    declared = {name: value for name, value in CONNECTION_TYPE.items() if name != "hook-name" or name in known}
    jsonschema.validate(declared, {**items, "additionalProperties": False})


def test_the_provider_info_is_what_airflow_accepts():
    schema = airflow_schema("provider_info.schema.json")
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(get_provider_info(), schema)


def test_the_provider_info_is_plain_json():
    assert json.loads(json.dumps(get_provider_info())) == get_provider_info()


@pytest.mark.skipif(not find_spec("flask_appbuilder"), reason="this Airflow draws its forms without Flask AppBuilder")
class TestWidgets:
    def form(self, **entered):
        from werkzeug.datastructures import MultiDict
        from wtforms import Form

        form_class = type("ConnectionForm", (Form,), LeadMagicHook.get_connection_form_widgets())
        return form_class(MultiDict(entered))

    def test_there_is_one_for_each_declared_field(self):
        assert set(LeadMagicHook.get_connection_form_widgets()) == set(CONNECTION_TYPE["conn-fields"])

    def test_they_say_what_was_declared(self):
        field = self.form().timeout
        declared = CONNECTION_TYPE["conn-fields"]["timeout"]
        assert (str(field.label.text), field.description) == (declared["label"], declared["description"])

    def test_they_are_of_a_kind_airflow_accepts(self):
        # The providers manager drops a hook, and with it the connection type, for a field of any other kind.
        from wtforms import BooleanField, IntegerField, PasswordField, StringField

        kinds = {widget.field_class for widget in LeadMagicHook.get_connection_form_widgets().values()}
        assert kinds <= {BooleanField, IntegerField, PasswordField, StringField}

    @pytest.mark.parametrize("entered", ["5", ""], ids=["number", "nothing"])
    def test_a_timeout_is_a_number_or_nothing(self, entered):
        form = self.form(timeout=entered)
        assert form.validate()
        assert str(form.timeout.data or "").removesuffix(".0") == entered

    @pytest.mark.parametrize("entered", ["soon", "0", "-1"])
    def test_a_timeout_that_is_none_is_refused(self, entered):
        assert not self.form(timeout=entered).validate()


@needs_a_form_of_airflow_3
def test_the_form_of_airflow_3_shows_our_labels():
    connections = pytest.importorskip("airflow.api_fastapi.core_api.services.ui.connections")
    [form] = [hook for hook in connections.HookMetaService.hook_meta_data() if hook.connection_type == "leadmagic"]
    assert form.hook_name == "LeadMagic"
    assert form.standard_fields.password.title == "API key"
    assert form.standard_fields.host.title == "API base URL"
    assert form.standard_fields.host.placeholder == "https://api.leadmagic.io"
    assert all(getattr(form.standard_fields, name).hidden for name in ("login", "port", "url_schema"))


@needs_a_form_of_airflow_3
def test_the_form_of_airflow_3_has_our_timeout():
    connections = pytest.importorskip("airflow.api_fastapi.core_api.services.ui.connections")
    [form] = [hook for hook in connections.HookMetaService.hook_meta_data() if hook.connection_type == "leadmagic"]
    declared = CONNECTION_TYPE["conn-fields"]["timeout"]
    assert list(form.extra_fields) == ["timeout"]
    field = form.extra_fields["timeout"]
    assert (field["schema"]["title"], field["description"]) == (declared["label"], declared["description"])
