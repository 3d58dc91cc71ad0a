"""A folder belongs to one comparison, and only one process works in it."""

from dataclasses import replace

import pytest

from saccade.comparison.settings import Settings, claim, locked

ASKED = Settings(
    data=None, mechanisms=("none", "se"), backbone="notes", pretrained=False, at=None, seeds=3, steps=10, epochs=None,
    size=96, batch=None, device="cpu", control_params=False, fresh_start=False,
)  # fmt: skip


def test_the_same_settings_go_on(tmp_path):
    claim(tmp_path / "out", ASKED, overwrite=False)
    claim(tmp_path / "out", ASKED, overwrite=False)


def test_other_settings_are_refused_by_name(tmp_path):
    claim(tmp_path, ASKED, overwrite=False)
    before = (tmp_path / "settings.json").read_bytes()
    with pytest.raises(ValueError, match=r"seeds: 3 there, 5 now; steps: 10 there, 20 now"):
        claim(tmp_path, replace(ASKED, seeds=5, steps=20), overwrite=False)
    assert (tmp_path / "settings.json").read_bytes() == before


def test_overwrite_starts_anew(tmp_path):
    claim(tmp_path, ASKED, overwrite=False)
    (tmp_path / "runs" / "se").mkdir(parents=True)
    claim(tmp_path, replace(ASKED, seeds=5), overwrite=True)
    assert not (tmp_path / "runs").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="not empty and holds no comparison"):
            claim(tmp_path, ASKED, overwrite=overwrite)
    assert (tmp_path / "thesis.txt").read_text() == "do not lose"


def test_a_second_comparison_in_one_folder_is_refused(tmp_path):
    with locked(tmp_path), pytest.raises(ValueError, match="another comparison is running"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds must be a whole number of at least 1"),
        ({"steps": 1.5}, "steps must be a whole number"),
        ({"steps": 5, "epochs": 2.0}, "steps or epochs, not both"),
        ({"steps": None, "epochs": -1.0}, "epochs must be above 0"),
        ({"size": 8}, "size must be at least 32"),
    ],
)
def test_values_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        replace(ASKED, **change)
