"""``saccade report`` makes the page again and says where it is."""

import json
from pathlib import Path

import pytest

from saccade.cli import main
from saccade.outputs import RECORD, Outputs
from saccade.report import build
from tests.report.fixture import write_comparison


@pytest.mark.parametrize(("flags", "read"), [([], str.strip), (["--json"], lambda out: json.loads(out)["report"])])
def test_prints_the_path_of_the_page(monkeypatch, capsys, flags, read):
    monkeypatch.setattr(build, "build_report", lambda directory: directory / "report.html")
    with pytest.raises(SystemExit) as left:
        main(["report", "saccade-compare/demo", *flags])
    assert left.value.code == 0
    assert Path(read(capsys.readouterr().out)) == Path("saccade-compare/demo/report.html")


def test_a_page_is_written_again_unless_somebody_changed_it(tmp_path, capsys):
    folder = write_comparison(tmp_path / "cmp", pictures=False, logs=False)
    page = folder / "report.html"

    def report():
        with pytest.raises(SystemExit) as left:
            main(["report", str(folder)])
        return left.value.code, capsys.readouterr().err

    assert report() == (0, "")
    (folder / RECORD).unlink()  # as older versions left it
    assert report() == (0, "")
    assert Outputs(folder).wrote(page)
    whole = page.read_text()
    page.write_text(whole.replace("</main>", "my remarks</main>"))
    status, said = report()
    assert (status, "was changed since saccade wrote it" in said) == (2, True)
    assert "my remarks" in page.read_text()
    (folder / RECORD).unlink()
    page.write_text("<p>a page of mine")
    status, said = report()
    assert (status, "saccade did not write it" in said) == (2, True)
    assert page.read_text() == "<p>a page of mine"
    page.unlink()
    assert report() == (0, "")
