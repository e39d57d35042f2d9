"""Where a conversion writes, what it takes along, and that it touches nothing else."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes import silent

from jaxembed import LLM
from jaxembed.cli import main
from jaxembed.convert.tool import conversion
from jaxembed.convert.tool.conversion import convert
from jaxembed.convert.tool.export import export
from jaxembed.convert.tool.new_folder import check_target, new_folder
from jaxembed.convert.tool.small_files import small_files
from jaxembed.errors import CheckpointError, InputError

pytestmark = pytest.mark.usefixtures("unrecorded")


def vectors(folder: Path) -> np.ndarray:
    return np.array([out.outputs.embedding for out in LLM(str(folder)).embed(["w8 w9 w10", "w100"], use_tqdm=False)])


# The folder beside OUT.


@pytest.mark.parametrize("kind", ["a link", "a folder", "a file", "a link to nothing"])
def test_what_is_not_ours_is_never_emptied(kind, tmp_path):
    partial, precious = tmp_path / ".out.partial", tmp_path / "theirs"
    if kind == "a link":
        partial.symlink_to(precious)
    elif kind == "a link to nothing":
        partial.symlink_to("nowhere")
    elif kind == "a file":
        partial.write_text("precious")
    else:
        precious = partial
    if precious != partial or kind == "a folder":
        precious.mkdir(exist_ok=True)
        (precious / "precious").touch()
    with pytest.raises(InputError, match="is not what a run of jaxembed has left"), new_folder(tmp_path / "out"):
        pass
    assert (precious / "precious").exists()
    assert os.path.lexists(partial)
    assert not (tmp_path / "out").exists()


def test_what_a_killed_run_has_left_is_emptied_without_following_its_links(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "precious").touch()
    context = new_folder(tmp_path / "out")
    folder = context.__enter__()
    (folder / "arrays").mkdir()
    (folder / "arrays" / "half").touch()
    (folder / "link").symlink_to(tmp_path / "theirs")
    left = tmp_path / "left"
    folder.rename(left)
    with pytest.raises(InputError):
        context.__exit__(None, None, None)
    left.rename(folder)
    with new_folder(tmp_path / "out") as again:
        assert again == folder
        assert [path.name for path in again.iterdir()] == [".jaxembed-partial"]
        (again / "made").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["made"]
    assert (tmp_path / "theirs" / "precious").exists()


def test_two_runs_for_one_place_do_not_mix(tmp_path):
    with new_folder(tmp_path / "out"):
        with pytest.raises(InputError, match="another run is writing"), new_folder(tmp_path / "out"):
            pass
        assert (tmp_path / ".out.partial").exists()
    assert (tmp_path / "out").is_dir()


def test_an_error_is_blamed_on_the_file_that_it_is_of(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone/file cannot be read: No such file"), new_folder(tmp_path / "out"):
        (tmp_path / "gone" / "file").read_bytes()
    with pytest.raises(InputError, match=r"out cannot be written: No such file"), new_folder(tmp_path / "out") as folder:
        (folder / "gone" / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"out cannot be written: No space left"), new_folder(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x" * 300, "File name too long"),
        ("x" * 250, "File name too long"),
        ("a\udcffb", r"is no name in UTF-8"),
        ("a\0b", "null"),
    ],
)
def test_a_name_that_cannot_be_is_one_sentence(name, said, tmp_path):
    with pytest.raises(InputError, match=said) as raised:
        check_target(tmp_path / name)
    str(raised.value).encode()


# What goes along.


def test_what_loading_reads_goes_along_and_nothing_else(checkpoint, tmp_path):
    folder = checkpoint("pipeline-dense")
    secret = tmp_path / "secret"
    secret.write_text('{"secret": 1}')
    for name in ("notes.txt", "vocab.txt", "extra.json"):
        (folder / name).symlink_to(secret)
    (folder / "merges.txt").write_text("a b\n")
    for name in ("checkpoint-10/config.json", "onnx/config.json", "sub/vocab.txt"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("{}")
    convert(str(folder), folder / "inside")
    convert(str(folder), tmp_path / "out")
    assert small_files(folder) == [
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "3_Normalize/config.json",
        "config.json",
        "config_sentence_transformers.json",
        "merges.txt",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {name for name in made if not name.startswith("arrays/")} == {*small_files(folder), "manifest.json"}


def test_linked_files_and_folders_go_along(checkpoint, tmp_path):
    folder = checkpoint("pipeline-pooling-cls")
    expected = vectors(folder)
    for name in ("1_Pooling", "tokenizer.json", "config.json"):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
    convert(str(folder), tmp_path / "converted")
    export(str(folder), tmp_path / "exported", progress=silent)
    for out in (tmp_path / "converted", tmp_path / "exported"):
        assert not any(path.is_symlink() for path in out.rglob("*"))
        np.testing.assert_array_equal(vectors(out), expected)


def test_a_vocabulary_in_the_cache_of_the_hub_goes_along(checkpoint, tmp_path):
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0123abc", tmp_path / "models--a--b" / "blobs"
    snapshot.parent.mkdir(parents=True)
    blobs.mkdir()
    checkpoint("backbone-bert").rename(snapshot)
    (snapshot / "vocab.txt").write_text("a\n")
    for number, path in enumerate([path for path in snapshot.rglob("*") if path.is_file()]):
        path.rename(blobs / str(number))
        path.symlink_to(os.path.relpath(blobs / str(number), path.parent))
    assert "vocab.txt" in small_files(snapshot)
    convert(str(snapshot), tmp_path / "out")
    assert (tmp_path / "out" / "vocab.txt").read_text() == "a\n"


def test_a_source_that_changes_meanwhile_is_not_converted(checkpoint, tmp_path, monkeypatch):
    folder = checkpoint("pipeline-pooling-cls")

    def copied(names, source, target):
        (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
        copy_files(names, source, target)

    copy_files = conversion.copy_files
    monkeypatch.setattr(conversion, "copy_files", copied)
    with pytest.raises(CheckpointError, match="were changed while they were read"):
        convert(str(folder), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("place", ["../outside", "/outside", "1_Dense/../../outside", ".."])
@pytest.mark.parametrize("name", ["pipeline-dense", "static-sentence-transformers"])
def test_a_module_outside_the_folder_is_refused(name, place, checkpoint, tmp_path):
    folder = checkpoint(name)
    listed = json.loads((folder / "modules.json").read_text())
    module = next(module for module in listed if module["type"].endswith((".Dense", ".StaticEmbedding")))
    outside = tmp_path / "outside"
    shutil.copytree(folder / module["path"], outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    module["path"] = str(outside) if place.startswith("/") else place
    (folder / "modules.json").write_text(json.dumps(listed))
    out = tmp_path / "out"
    for run in (LLM, lambda name: convert(name, out), lambda name: export(name, out, progress=silent)):
        with pytest.raises(CheckpointError, match="which lies outside the checkpoint's folder"):
            run(str(folder))
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before


def test_a_converted_folder_does_not_lead_outside_either(checkpoint, tmp_path):
    folder = checkpoint("static-sentence-transformers")
    convert(str(folder), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    config["jaxembed"]["place"] = "../outside"
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="which lies outside the checkpoint's folder"):
        export(str(tmp_path / "out"), tmp_path / "back", progress=silent)
    assert not (tmp_path / "outside").exists()


# What is typed.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--export-hf", "--verify"], "leave out --verify"),
        (["--export-hf", "--dtype", "int8"], "leave out --dtype"),
        (["--reference", "python"], "add --verify"),
        (["--revision", "main"], "is a folder; leave it out"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(options, said, checkpoint, tmp_path, capsys):
    folder = checkpoint("backbone-bert")
    assert main(["convert", str(folder), str(tmp_path / "out"), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_both_names_are_needed(checkpoint, tmp_path, capsys, monkeypatch):
    """With OUT forgotten, the name of the source was taken for it, and the embedded model written there."""
    monkeypatch.chdir(tmp_path)
    checkpoint("backbone-bert")
    for arguments in (["backbone-bert"], ["new"], []):
        with pytest.raises(SystemExit):
            main(["convert", *arguments])
        assert "required: " in capsys.readouterr().err
    assert not Path("new").exists()
    with pytest.raises(SystemExit):
        # What would be recorded of cut texts is not what the folder gives.
        main(["convert", "backbone-bert", "new", "--max-model-len", "8"])
    assert "unrecognized arguments" in capsys.readouterr().err
