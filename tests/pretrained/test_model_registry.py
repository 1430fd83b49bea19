"""The registry of models: whole at every moment, followed by name, never without its model."""

import json

import pytest

from hanline.errors import HanlineError
from hanline.pretrained import SHIPPED, model_path
from hanline.pretrained.model_registry import SHIPPED_FILE, About, ModelRegistry


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.setenv("HANLINE_MODELS", str(tmp_path / "models"))
    return ModelRegistry()


@pytest.fixture
def add(registry):
    def add(name, *parents):
        made = f"2026-01-{len(registry.names()) + 1:02d}"
        registry.add(
            About(name, made, list(parents)),
            lambda folder: (folder / "model.safetensors").write_bytes(name.encode()),
        )

    return add


def test_without_models_the_shipped_one_is_in_use(registry):
    assert registry.in_use() == SHIPPED
    assert model_path("in-use") == model_path(SHIPPED) == SHIPPED_FILE
    assert registry.names() == []


def test_names_lead_to_files(registry, add, tmp_path, monkeypatch):
    add("monday", SHIPPED)
    registry.use("monday", "a test")
    assert model_path("in-use") == model_path("monday")
    assert model_path("monday").read_bytes() == b"monday"
    assert str(model_path("tuesday")) == "tuesday"
    # A file of that name has precedence, as it had before there was a registry.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "monday").write_bytes(b"a file")
    assert model_path("monday").read_bytes() == b"a file"


def test_a_model_that_was_not_written_to_its_end_is_none(registry, add):
    def fails(folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        registry.add(About("monday", "2026"), fails)
    assert registry.names() == []
    assert not list(registry.folder.iterdir())
    add("monday")
    assert registry.names() == ["monday"]


def test_rolling_back_puts_the_parent_in_use(registry, add):
    add("monday", SHIPPED)
    add("tuesday", "monday", SHIPPED)
    registry.use("tuesday", "a test")
    assert registry.roll_back() == "monday"
    assert registry.roll_back() == SHIPPED
    with pytest.raises(HanlineError, match="expected a model with a parent in use"):
        registry.roll_back()
    assert registry.roll_back("tuesday") == registry.in_use() == "tuesday"
    assert [use.model for use in registry.uses()] == ["tuesday", "monday", SHIPPED, "tuesday"]


def test_the_model_in_use_and_its_parent_are_never_removed(registry, add):
    names = ["a", "b", "c", "d", "e"]
    for name, parent in zip(names, [SHIPPED, *names], strict=False):
        add(name, parent)
    registry.use("b", "a test")
    assert registry.remove_old(1) == ["c", "d"]
    assert registry.names() == ["a", "b", "e"]


@pytest.mark.parametrize("name", ["", "../elsewhere", "a/b", "in-use", "shipped", ".hidden", "a b"])
def test_a_name_that_leads_elsewhere_is_refused(registry, name):
    with pytest.raises(HanlineError, match="expected a model's name"):
        registry.add(About(name, "2026"), lambda folder: None)
    assert not registry.folder.exists()


@pytest.mark.parametrize(
    "pointer",
    ["", "{", "{}", "[]]", "[1]", '[{"model": 1}]', "[" * 3000, '[{"since": "", "why": ""}]'],
)
def test_a_damaged_pointer_is_a_message(registry, add, pointer):
    add("monday")
    (registry.folder / "in-use.json").write_text(pointer, encoding="utf-8")
    with pytest.raises(HanlineError, match=r"in-use\.json"):
        registry.in_use()


def test_a_pointer_to_a_model_that_is_gone_is_a_message(registry):
    registry.folder.mkdir()
    entry = [{"model": "../../etc", "since": "", "why": ""}]
    (registry.folder / "in-use.json").write_text(json.dumps(entry), encoding="utf-8")
    with pytest.raises(HanlineError, match="expected the name of a model"):
        registry.in_use()


@pytest.mark.parametrize("about", ["{", "[]", '{"made": 1, "parents": 3}', '{"made": 1, "why": 3}'])
def test_a_damaged_description_is_a_message(registry, add, about):
    add("monday")
    (registry.folder / "monday" / "about.json").write_text(about, encoding="utf-8")
    with pytest.raises(HanlineError, match=r"about\.json is damaged"):
        registry.about("monday")
