"""``saccade report`` makes the page again and says where it is."""

import json
from pathlib import Path

import pytest

from saccade.cli import main
from saccade.report import build


@pytest.mark.parametrize(("flags", "read"), [([], str.strip), (["--json"], lambda out: json.loads(out)["report"])])
def test_prints_the_path_of_the_page(monkeypatch, capsys, flags, read):
    monkeypatch.setattr(build, "build_report", lambda directory: directory / "report.html")
    with pytest.raises(SystemExit) as left:
        main(["report", "saccade-compare/demo", *flags])
    assert left.value.code == 0
    assert Path(read(capsys.readouterr().out)) == Path("saccade-compare/demo/report.html")
