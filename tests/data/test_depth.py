"""Images of more than 8 bits: one value is white in all of a data set, or the message names ``--bits``."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from saccade.data.depth import find_range
from saccade.data.images import UnreadableError, read_image
from saccade.errors import InputError
from saccade.tasks.segmentation.stored import read_mask

PNG_CHANNELS = {1: 0, 2: 4, 3: 2, 4: 6}


def png(path, rows, size, bits, colour):
    """A PNG of rows that are packed already."""
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b""))
    content = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))
    return path


def deep_png(path, values):
    """A PNG of 16 bits per channel, of 1 to 4 channels (Pillow writes grey only)."""
    rows = [row.astype(">u2").tobytes() for row in values]
    return png(path, rows, values.shape[1::-1], 16, PNG_CHANNELS[values.shape[2]])


def narrow_png(path, values, bits):
    """A grey PNG of 1, 2 or 4 bits."""
    spread = (values[..., None] >> np.arange(bits)[::-1]) & 1
    return png(path, [np.packbits(row).tobytes() for row in spread], values.shape[::-1], bits, 0)


def grey(path, *values, kind=np.uint16):
    Image.fromarray(np.array([values], kind)).save(path)
    return path


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_the_bits_in_use_are_found_over_all_images(tmp_path, bits, suffix):
    top = 2**bits - 1
    files = [grey(tmp_path / f"a.{suffix}", 0, top // 3), grey(tmp_path / f"b.{suffix}", 0, top)]
    found = find_range(files)
    assert found.white == top
    assert f"{top:,} is white" in found.note
    assert ("of 16 bits are used" in found.note) == (bits < 16)
    one, two = (np.asarray(read_image(file, white=found.white))[0, :, 0].tolist() for file in files)
    assert (one, two) == ([0, round(top // 3 * 255 / top)], [0, 255])


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_16_bits_keep_their_lower_8(tmp_path, channels):
    colours = np.array([[[0, 1000, 2047], [4095, 4095, 17]]])
    values = colours if channels > 2 else colours[..., 1:2]
    alpha = np.full((1, 2, 1), 65535)
    file = deep_png(tmp_path / "a.png", values if channels == 3 else np.concatenate([values, alpha], axis=2))
    assert find_range([file]).white == 4095
    expected = np.rint(values * (255 / 4095)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(read_image(file, white=4095)), np.broadcast_to(expected, (1, 2, 3)))


def test_images_of_8_bits_have_no_range_and_mix_with_others(tmp_path):
    files = [grey(tmp_path / "a.png", 0, 255, kind=np.uint8), tmp_path / "b.jpg"]
    Image.new("RGB", (4, 4)).save(files[1])
    assert (find_range(files).white, find_range(files).note) == (None, "")
    deep = grey(tmp_path / "c.png", 4095)
    found = find_range([*files, deep])
    assert found.note.startswith("1 of 3 images have more than 8 bits")
    assert [read_image(file, white=found.white).getpixel((0, 0))[0] for file in (files[0], deep)] == [0, 255]


@pytest.mark.parametrize("top", [1500, 5000, 300])
def test_values_that_fill_no_number_of_bits_are_asked_for(tmp_path, top):
    file = grey(tmp_path / "a.png", 0, top)
    with pytest.raises(InputError, match="which value is white cannot be told") as caught:
        find_range([file], where="photos")
    assert caught.value.message.startswith("photos: ")
    assert "--bits 16 (white is 65,535)" in caught.value.hint
    assert find_range([file], bits=12).white == 4095


def test_a_value_above_white_names_the_option(tmp_path):
    file = grey(tmp_path / "a.png", 0, 5000)
    with pytest.raises(UnreadableError, match=r"up to 5,000, and white is 4,095 \(12 bits\)") as caught:
        read_image(file, white=4095)
    assert "--bits 14" in caught.value.hint
    with pytest.raises(UnreadableError, match="more than 8 bits per channel") as caught:
        read_image(file)
    assert "--bits" in caught.value.hint


def test_fractions_of_1_and_whole_numbers_of_other_types(tmp_path):
    one = grey(tmp_path / "a.tif", 0, 0.5, 1, kind=np.float32)
    assert find_range([one]).white == 1
    assert np.asarray(read_image(one, white=1.0))[0, :, 0].tolist() == [0, 128, 255]
    assert find_range([grey(tmp_path / "b.tif", 0, 4095, kind=np.int32)]).white == 4095
    with pytest.raises(UnreadableError, match=r"its values are fractions, 0 to 1, and white is 4,095"):
        read_image(one, white=find_range([one], bits=12).white)
    for values, kind, message in (
        ((0, 3.5), np.float32, "neither 0 to 1 nor whole"),
        ((-1000, 500), np.int32, "-1000 to 500 .* none may be below 0"),
        ((0, 70000), np.int32, "go up to 70,000"),
    ):
        with pytest.raises(InputError, match=message):
            find_range([grey(tmp_path / "c.tif", *values, kind=kind)])
    lost = grey(tmp_path / "d.tif", 0, np.nan, kind=np.float32)
    with pytest.raises(UnreadableError, match="NaN"):
        read_image(lost, white=1.0)


def planar_tiff(path, bits):
    """A TIFF of 2 x 2 px whose three colours are stored one after the other."""
    size = 4 * bits // 8
    data = np.arange(12, dtype=f"<u{bits // 8}") * 20
    rows = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 3, 220),
            (277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 3, 240), (284, 3, 1, 2)]  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(rows)) + b"".join(struct.pack("<HHII", *row) for row in rows) + bytes(4)
    body = head.ljust(200, b"\0") + struct.pack("<3H", *[bits] * 3)
    body = body.ljust(220, b"\0") + struct.pack("<3I", *(300 + k * size for k in range(3)))
    path.write_bytes((body.ljust(240, b"\0") + struct.pack("<3I", *[size] * 3)).ljust(300, b"\0") + data.tobytes())
    return path


def test_16_bit_colours_in_planes_are_refused_which_pillow_reads_wrongly(tmp_path):
    assert np.asarray(read_image(planar_tiff(tmp_path / "a.tif", 8)))[0, 0].tolist() == [0, 80, 160]
    with pytest.raises(UnreadableError, match="stored in planes, which Pillow misreads") as caught:
        read_image(planar_tiff(tmp_path / "b.tif", 16), white=65535)
    assert caught.value.hint == "save it as 16-bit PNG"


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_whose_zero_is_white(tmp_path, kind):
    """An image is shown so; a mask means what it stores."""
    top = int(np.iinfo(kind).max)
    file = grey(tmp_path / "a.tif", 0, 1, top, kind=kind)
    photometric = b"\x06\x01\x03\x00\x01\x00\x00\x00"
    assert file.read_bytes().count(photometric + b"\x01") == 1
    file.write_bytes(file.read_bytes().replace(photometric + b"\x01", photometric + b"\x00"))
    assert np.asarray(read_image(file, white=65535))[0, ::2, 0].tolist() == [255, 0]
    assert read_mask(file).tolist() == [[0, 1, top]]


@pytest.mark.parametrize("bits", [0, 17])
def test_bits_out_of_range_are_refused(tmp_path, bits):
    with pytest.raises(InputError, match="from 1 to 16"):
        find_range([], bits=bits)
