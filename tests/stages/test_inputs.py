"""What an item is made from is checked around its reading: a recording by its state, a file of the store by its content too."""

import os

import pytest

from audiorestorer.manifest import Item
from audiorestorer.stages.inputs import InputChanged, InputDamaged, checked
from audiorestorer.store import Store, key_of, sha256_file
from tests.test_store import put


def stored(tmp_path):
    """A store with one entry, and the row that names its file."""
    store, key = Store(tmp_path / "store", "fuse"), key_of(x=1)
    entry = put(store, key)
    (name,) = entry.files
    return store, key, Item(id="a", noisy="a.wav", path=str(entry.files[name]), sha256=entry.sha256[name])


def replace(path, text):
    with open(f"{path}.new", "w") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


def test_an_entry_that_another_run_made_again_is_read_and_kept(tmp_path):
    store, key, item = stored(tmp_path)
    with checked(item, store.root):
        replace(item.path, "sound")
    assert store.get(key) is not None


@pytest.mark.parametrize("text", ["other", "sounds", None])
def test_an_entry_that_changed_while_it_was_read_goes(tmp_path, text):
    store, key, item = stored(tmp_path)
    with pytest.raises(InputDamaged, match="removed or replaced while it was read"), checked(item, store.root):
        if text:
            replace(item.path, text)
        else:
            os.unlink(item.path)
    assert store.get(key) is None and not os.path.exists(item.path)


def test_a_recording_that_was_replaced_is_refused_even_by_its_equal(tmp_path):
    """Whatever was read of it may have come from what stood there between."""
    (tmp_path / "a.wav").write_text("sound")
    item = Item(id="a", noisy="a.wav", path=str(tmp_path / "a.wav"), sha256=sha256_file(tmp_path / "a.wav"))
    with pytest.raises(InputChanged, match="put it back"), checked(item, tmp_path / "store"):
        replace(item.path, "sound")
    assert (tmp_path / "a.wav").read_text() == "sound"
