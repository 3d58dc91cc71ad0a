"""Streams as a shell may leave them: no traceback, and no work lost."""

import io
import os
import subprocess
import sys

import pytest

from saccade.cli import main
from saccade.cli.streams import prepare_streams
from saccade.training.progress import Lines


class Gone(io.StringIO):
    """A stream whose reader has left."""

    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError


def status_of(words):
    with pytest.raises(SystemExit) as left:
        main(words)
    return left.value.code


@pytest.mark.parametrize("name", ["stdout", "stderr", "stdin"])
@pytest.mark.parametrize(("words", "status"), [(["list"], 0), (["compair"], 2), (["--help"], 0)])
def test_a_closed_stream(name, words, status, monkeypatch):
    monkeypatch.setattr(sys, name, None)
    assert status_of(words) == status
    getattr(sys, name).close()


@pytest.mark.parametrize(("words", "status"), [(["list", "--table"], 0), (["compair", "é"], 2), (["--help"], 0)])
def test_an_encoding_without_most_letters(words, status, monkeypatch):
    written = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for name, stream in written.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, encoding="ascii"))
    assert status_of(words) == status
    sys.stdout.flush()
    sys.stderr.flush()
    assert any(stream.getvalue() for stream in written.values())


def test_what_is_said_to_nobody_ends_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Gone())
    Lines(shown=True).say("step 1")
    prepare_streams()
    print("a warning", file=sys.stderr, flush=True)
    assert status_of(["compair"]) == 2


@pytest.mark.processes
@pytest.mark.parametrize("redirected", [">&-", "2>&-", ">&- 2>&- <&-", "> /dev/full"])
def test_streams_of_a_shell(redirected):
    line = f'"{sys.executable}" -m saccade list {redirected}'
    done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, text=True, env=os.environ, check=False)
    assert done.returncode == (2 if "full" in redirected else 0)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize("words", [["list", "--family", ""], ["list", "--family="], ["plan", "", "se"], ["look", "  "]])
def test_an_empty_word_is_refused(words, capsys):
    assert status_of(words) == 2
    assert "must not be empty" in capsys.readouterr().err
