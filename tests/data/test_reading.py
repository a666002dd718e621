"""Reading rows: hostile files, folders and paths give the right rows, or one line that names the file and the row."""

import csv
import gzip
import json
import os
import random
from types import SimpleNamespace

import datasets
import huggingface_hub
import pyarrow
import pytest
from pyarrow import parquet

from dpo_book.data import formats
from dpo_book.data.paper_sets import imdb_reviews
from dpo_book.data.preferences import load_preferences
from dpo_book.data.reading import PreferenceError, read_rows

ROW = {"prompt": "a", "chosen": "b", "rejected": "c"}
LINE = json.dumps(ROW) + "\n"
TABLE = "prompt,chosen,rejected\na,b,c\n"
CONFIGURED = (
    "---\nconfigs:\n- config_name: one\n  data_files: a.jsonl\n- config_name: default\n  data_files: b.jsonl\n---\n"
)


def refused(path, *words, **options):
    """The path is refused in one line that has these words."""
    with pytest.raises(PreferenceError) as error:
        list(read_rows(path, **options))
    said = str(error.value)
    assert len(said.splitlines()) == 1
    for word in words:
        assert word in said


def folder_of(path, **files):
    """A folder with text files; their names have "__" for the dot."""
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


# ------------------------------------------------------------------ JSON

NESTED = "[" * 100_000
BAD_ROWS = {  # what stands in place of a row, and the words for it
    "half a character": (r'{"prompt": "a", "chosen": "\ud800", "rejected": "c"}', [r'"chosen": \ud800', "surrogate"]),
    "half of one within": (r'{"prompt": [{"role": "user", "content": "x\uDC00"}]}', [r'"content": \udc00']),
    "a key twice": ('{"prompt": "a", "chosen": "b", "chosen": "x", "rejected": "c"}', ['the key "chosen" twice']),
    "a key twice within": ('{"prompt": [{"role": "user", "role": "tool"}]}', ['the key "role" twice']),
    "nested": ('{"prompt": "a", "chosen": "b", "rejected": "c", "other": ' + NESTED, ["nested too deeply"]),
    "many digits": ('{"chosen_probability": 1' + "0" * 5000 + "}", ["thousands of digits"]),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_row_that_is_json_and_no_row(case, tmp_path):
    row, words = BAD_ROWS[case]
    lines, array = tmp_path / "a.jsonl", tmp_path / "a.json"
    lines.write_text(f"{LINE}\n{row}\n{LINE}")
    array.write_text(f"[{LINE},\n{row},\n{LINE}]")
    refused(lines, f"{lines}, line 3: ", *words)
    refused(array, f"{array}, row 2: ", *words)


def test_two_halves_of_a_character_are_one(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(r'{"text": "\ud83d\ude00"}')
    assert list(read_rows(path)) == [(f"{path}, line 1", {"text": "😀"})]


@pytest.mark.parametrize(
    "text, place",
    [
        (f"[{LINE}", "line 2, column 1"),
        (f"[{LINE},]", "line 2, column 2"),
        (f"[{LINE}{LINE}]", "line 2, column 1"),
        (f"[{LINE}]\n[]", "line 3, column 1"),
        ("{\n" + f'"data": [{LINE}]' + "}", "line 1, column 2"),
        (LINE.strip() + LINE, "line 1, column 48"),
    ],
)
def test_broken_json_is_named_by_line_and_column(text, place, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    refused(path, f"{path}, {place}: not JSON")


def test_an_array_is_read_however_it_is_laid_out(tmp_path):
    path = tmp_path / "a.json"
    rows = [ROW, ROW | {"other": [1, {"a": "]"}]}]
    for text in (json.dumps(rows), json.dumps(rows, indent=4), "\ufeff \r\n" + json.dumps(rows) + " \r\n"):
        path.write_text(text, encoding="utf-8")
        assert list(read_rows(path)) == [(f"{path}, row 1", rows[0]), (f"{path}, row 2", rows[1])]


# ------------------------------------------------------------------ text and its encodings


@pytest.mark.parametrize("name, text", [("a.jsonl", LINE), ("a.csv", TABLE)])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-16-le"])
def test_another_encoding_is_refused(name, text, encoding, tmp_path):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    marked = encoding in ("utf-16", "utf-32")
    refused(path, str(path), "line 1", "save it as UTF-8", f"mark of {encoding.upper()}" if marked else "is NUL")


def test_a_zero_byte_is_damage(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(TABLE.encode() + b"a,\0,c\n")
    refused(path, f"{path}, line 3: byte 31 is NUL")


def test_a_gzip_that_unpacks_to_nonsense_does_not_fill_the_memory(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b" " * 10**6))
    monkeypatch.setattr(formats, "MOST_UNPACKED", 1000)
    refused(path, f"{path}: unpacks to more than a hundred times its size")
    path.write_bytes(gzip.compress(LINE.encode()))
    assert [row for _, row in read_rows(path)] == [ROW]


# ------------------------------------------------------------------ CSV


def test_a_long_cell_is_read(tmp_path):
    path = tmp_path / "a.csv"
    limit = csv.field_size_limit()
    path.write_text("chosen\n" + "x" * (limit + 1))
    assert [len(row["chosen"]) for _, row in read_rows(path)] == [limit + 1]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("delimiter, name", [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_delimiters_are_named(delimiter, name, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(TABLE.replace(",", delimiter))
    refused(path, str(path), f"parted by {name}", "commas")


def test_a_column_twice_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt,chosen,rejected,chosen\na,b,c,d\n")
    refused(path, str(path), 'column "chosen" twice')
    table = pyarrow.table([["a"], ["b"], ["c"], ["d"]], names=["prompt", "chosen", "rejected", "chosen"])
    parquet.write_table(table, tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "a.parquet", 'column "chosen" twice')


def test_a_row_is_named_by_its_line_too_where_that_differs(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b\r\n1,"x\r\ny"\r\n\r\n2,z\r\n')
    places = [where for where, _ in read_rows(path)]
    assert places == [f"{path}, row 1", f"{path}, row 2 (line 5)"]
    path.write_text('a,b\n1,"x\ny"\n2\n')
    refused(path, f"{path}, row 2 (line 4): fewer cells")


# ------------------------------------------------------------------ Parquet and what datasets saved


def parquet_file(path, checked):
    rng = random.Random(0)
    rows = [{"prompt": "a", "chosen": rng.choices("the film", k=9), "rejected": f" no {i}"} for i in range(40)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, write_page_checksum=checked)
    return rows


@pytest.mark.parametrize("checked", [True, False])
def test_a_damaged_file_is_named(checked, tmp_path):
    """Right or refused; of a flipped letter in a file without checksums nobody can know."""
    path = tmp_path / "a.parquet"
    rows = parquet_file(path, checked)
    whole = path.read_bytes()
    rng = random.Random(1)
    refusals = 0
    for number in range(240):
        place = rng.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :]
        path.write_bytes(flipped if number % 2 else whole[:place])
        try:
            read = [row for _, row in read_rows(path)]
            if checked and {"prompt", "chosen", "rejected"}.issubset(*read[:1]):
                assert read == rows
        except PreferenceError as error:
            assert str(error).startswith(f"{path}: ") and len(str(error).splitlines()) == 1
            refusals += 1
    assert 120 <= refusals < 240


def test_a_date_out_of_range_hurts_only_who_reads_it(tmp_path):
    late = pyarrow.array([10**15, 0], pyarrow.timestamp("s"))
    table = pyarrow.table({"prompt": ["a", "a"], "chosen": ["b", "b"], "rejected": ["c", "c"], "when": late})
    parquet.write_table(table, tmp_path / "a.parquet")
    datasets.Dataset(table).save_to_disk(tmp_path / "saved")
    for name in ("a.parquet", "saved"):
        assert [(pair.prompt, pair.chosen) for pair in load_preferences(tmp_path / name)] == [("a", "b")] * 2
    parquet.write_table(
        table.drop(["chosen"]).rename_columns(["prompt", "rejected", "chosen"]), tmp_path / "b.parquet"
    )
    with pytest.raises(
        PreferenceError, match=r"b.parquet, row 1: column 'chosen' must be text .*\"a timestamp\[ms\]"
    ):
        load_preferences(tmp_path / "b.parquet")


def test_columns_without_rows(tmp_path):
    empty = pyarrow.table({name: pyarrow.array([], pyarrow.string()) for name in ("chosen", "rejected")})
    parquet.write_table(empty, tmp_path / "a.parquet")
    assert list(read_rows(tmp_path / "a.parquet")) == []


def test_values_of_several_types_are_read_as_they_were_written(tmp_path):
    calls = [{"arguments": {"x": 1}}, {"arguments": {"x": "one"}}]
    rows = [{"chosen": [{"role": "assistant", "tool_calls": [call]}]} for call in calls]
    columns = {"chosen": [row["chosen"] for row in rows]}
    datasets.Dataset.from_dict(columns, on_mixed_types="use_json").to_parquet(tmp_path / "a.parquet")
    assert [row for _, row in read_rows(tmp_path / "a.parquet")] == rows


def test_a_damaged_saved_data_set_is_named(tmp_path):
    path = tmp_path / "saved"
    datasets.Dataset.from_list([ROW]).save_to_disk(path)
    (arrow,) = path.glob("*.arrow")
    os.truncate(arrow, 100)
    refused(path, f"{path}: not whole")


# ------------------------------------------------------------------ paths


def test_paths_that_lead_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("loop.jsonl", "loop.jsonl")
    os.symlink("/dev/zero", "zero.jsonl")
    os.mkfifo("pipe.jsonl")
    refused("loop.jsonl", "loop.jsonl", "symbolic links")
    refused("zero.jsonl", "zero.jsonl", "a pipe or a device")
    refused("pipe.jsonl", "pipe.jsonl", "a pipe or a device")
    refused("~no-such-user/x", "~no-such-user/x", "no such user")
    refused("a\0b", "cannot be read")
    refused("x" * 5000, "xxx", "File name too long")
    refused("", "a path is needed")
    for read in (imdb_reviews, lambda source: load_preferences("hh", source=source)):
        with pytest.raises(PreferenceError, match="no such user"):
            read("~no-such-user/x")


def test_what_may_not_be_read_is_named(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "shut", train__jsonl=LINE)

    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.listdir", forbidden)
    refused(folder, f"{folder}: cannot be read: Permission denied")
    monkeypatch.setattr("pathlib.Path.read_bytes", forbidden)
    refused(folder / "train.jsonl", "train.jsonl: cannot be read: Permission denied")


# ------------------------------------------------------------------ folders


@pytest.mark.parametrize("name", ["b.csv", "b.tsv", "b.arrow", "part-0001", "more/b.jsonl.zst", "b.jsonl"])
def test_a_folder_leaves_nothing_out(name, tmp_path):
    folder = folder_of(tmp_path / "data", train__jsonl=LINE, README__md="about", LICENSE="free", notes__txt="x")
    (folder / ".hidden.jsonl").write_text("x")
    assert [row for _, row in read_rows(folder)] == [ROW]
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(LINE)
    refused(folder, f"{folder}: would leave out '{name}'")


def test_a_folder_of_one_format_and_no_splits_is_all_train(tmp_path):
    folder = folder_of(tmp_path / "data", a__jsonl=LINE, b__jsonl=LINE)
    assert [where for where, _ in read_rows(folder)] == [f"{folder}/{name}.jsonl, line 1" for name in "ab"]


def test_a_linked_file_is_read_and_a_linked_folder_is_not_left_out(tmp_path):
    folder = folder_of(tmp_path / "data")
    (tmp_path / "blob").write_text(LINE)
    os.symlink(tmp_path / "blob", folder / "train.jsonl")  # as the hub's cache keeps its files
    assert [row for _, row in read_rows(folder)] == [ROW]
    os.symlink(folder, folder / "again")
    refused(folder, "would leave out 'again'")


def test_a_pipe_in_a_folder_is_not_left_out(tmp_path):
    folder = folder_of(tmp_path / "data", train__jsonl=LINE)
    os.mkfifo(folder / "test.jsonl")
    refused(folder, "would leave out 'test.jsonl'")


def test_a_file_beside_a_saved_data_set_is_not_left_out(tmp_path):
    path = tmp_path / "saved"
    datasets.DatasetDict(train=datasets.Dataset.from_list([ROW])).save_to_disk(path)
    assert [row for _, row in read_rows(path)] == [ROW]
    (path / "more.jsonl").write_text(LINE)
    refused(path, "would leave out 'more.jsonl'")


def test_one_of_several_configurations_has_to_be_named(tmp_path):
    folder = folder_of(tmp_path / "data", a__jsonl=LINE, b__jsonl=LINE.replace("a", "A"), README__md=CONFIGURED)
    refused(folder, f"{folder}: has several configurations, name one: 'one', 'default'")
    refused(folder, f"{folder}: no configuration 'two'; there are: 'one', 'default'", configuration="two")
    assert [where for where, _ in read_rows(folder, configuration="one")] == [f"{folder}/a.jsonl, line 1"]
    assert load_preferences(folder, configuration="default")[0].where == f"{folder}/b.jsonl, line 1"
    refused(folder / "a.jsonl", "a file has no configurations", configuration="one")
    (folder / "c.jsonl").write_text(LINE)
    refused(folder, "would leave out 'c.jsonl'", configuration="one")


def test_one_of_several_configurations_on_the_hub(monkeypatch):
    card = {"configs": [{"config_name": "one"}, {"config_name": "two"}]}
    info = SimpleNamespace(card_data=card)
    asked = []

    def load_dataset(path, **options):
        asked.append(options)
        return datasets.Dataset.from_list([ROW])

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: info)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    refused("owner/name", "owner/name: has several configurations, name one: 'one', 'two'")
    refused("owner/name", "no configuration 'three'", configuration="three")
    assert asked == []
    assert list(read_rows("owner/name", configuration="two")) == [("owner/name, row 1", ROW)]
    assert asked == [{"split": "train", "name": "two"}]
