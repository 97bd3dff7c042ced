"""From an image's file to pixels, against Pillow's own operations on each kind of file."""

from __future__ import annotations

import io
import struct
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from vitcli.data.decode import decode, quietly

RAMP = np.stack(np.broadcast_arrays(np.arange(40) * 6, np.arange(20)[:, None] * 12, 9), -1)
COLOURS = Image.fromarray(RAMP.astype(np.uint8))
MANY = 10**9


def file(image: Image.Image, kind: str, **more: Any) -> bytes:
    """Returns the image's file."""
    place = io.BytesIO()
    image.save(place, kind, **more)
    return place.getvalue()


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(9))
def test_images_are_turned_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file(COLOURS, kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert expected is not None
    np.testing.assert_array_equal(pixels(decode(data, MANY)), np.asarray(expected))
    assert expected.size == ((20, 40) if orientation > 4 else (40, 20))


def test_an_odd_tag_beside_the_orientation_does_no_harm() -> None:
    """Pillow cannot write such an EXIF back, which turning an image needs not."""
    tags = struct.pack(
        ">HHHII HHII I".replace(" ", ""), 2, 0x100, 1, 1, 7 << 24, 0x112, 3, 1, 6 << 16, 0
    )
    data = file(COLOURS, "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08" + tags)
    plain = Image.open(io.BytesIO(data))
    with pytest.raises(Exception):  # noqa: B017, PT011 (Pillow raises several)
        ImageOps.exif_transpose(plain)
    turned = np.asarray(plain.transpose(Image.Transpose.ROTATE_270))
    np.testing.assert_array_equal(pixels(decode(data, MANY)), turned)


def test_a_broken_orientation_is_none() -> None:
    data = file(COLOURS, "JPEG", exif=b"Exif\x00\x00" + b"MM\x00*\xff\xff\xff\xff")
    with quietly():
        plain = np.asarray(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(pixels(decode(data, MANY)), plain)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled(kind: str) -> None:
    grey = (np.arange(800).reshape(20, 40) * 81).astype(np.uint16)
    found = pixels(decode(file(Image.fromarray(grey), kind), MANY))
    expected = np.repeat(grey[..., None] / 65535 * 255, 3, axis=-1)
    np.testing.assert_allclose(found, expected, atol=1)


def tiff(
    grey: np.ndarray[Any, Any], bits: int, white: int, more: dict[int, int] | None = None
) -> bytes:
    """Returns an uncompressed grey TIFF, of which `white` 1 says that 0 is black, and 0 white."""
    if bits == 12:  # two numbers in three bytes
        pairs = grey.reshape(-1, 2).tolist()
        raw = b"".join(((a << 12) | b).to_bytes(3, "big") for a, b in pairs)
    else:
        raw = grey.astype(f"<u{bits // 8}").tobytes()
    height, width = grey.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: white, 273: 8, 277: 1, 278: height}
    tags |= {279: len(raw), **(more or {})}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    ifd = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(raw)) + raw + ifd


@pytest.mark.parametrize(("bits", "white"), [(8, 0), (8, 1), (12, 1), (16, 0), (16, 1)])
def test_a_tiff_s_bits_and_what_its_zero_means(bits: int, white: int) -> None:
    grey = np.linspace(0, 2**bits - 1, 800).astype(int).reshape(20, 40)
    found = pixels(decode(tiff(grey, bits, white), MANY))[..., 0]
    expected = grey / (2**bits - 1) * 255
    np.testing.assert_allclose(found, expected if white else 255 - expected, atol=1)


def test_a_tiff_that_pillow_reads_wrongly_is_refused() -> None:
    grey = np.arange(800).reshape(20, 40) % 256
    with pytest.raises(ValueError, match="signed numbers of no known range"):
        decode(tiff(grey, 8, 1, {339: 2}), MANY)
    # 284: each channel by itself. Pillow takes the halves of 16 bits for pixels.
    with pytest.raises(ValueError, match="16 bits in a plane for each channel"):
        decode(tiff(grey, 16, 1, {284: 2}), MANY)
    assert decode(tiff(grey, 8, 1, {284: 2}), MANY).size == (40, 20)


def test_sixteen_bits_are_turned_too() -> None:
    grey = (np.arange(800).reshape(20, 40) * 81).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    found = pixels(decode(file(Image.fromarray(grey), "PNG", exif=exif), MANY))
    np.testing.assert_allclose(found[..., 0], np.rot90(grey, -1) / 257, atol=1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_other_modes_are_what_pillow_makes_of_them(mode: str) -> None:
    image = (
        Image.fromarray(RAMP.astype(np.uint8), "LAB") if mode == "LAB" else COLOURS.convert(mode)
    )
    kind = "PNG" if mode in ("1", "L", "LA", "P", "RGBA") else "TIFF"
    data = file(image, kind)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(pixels(decode(data, MANY)), expected)


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    palette = Image.new("RGBA", (8, 8), (1, 2, 3, 128)).quantize()
    assert decode(file(palette, "PNG"), MANY).getpixel((0, 0)) == (1, 2, 3)


def test_a_transparent_colour_is_shown() -> None:
    data = file(COLOURS, "PNG", transparency=COLOURS.getpixel((3, 3)))
    np.testing.assert_array_equal(pixels(decode(data, MANY)), RAMP)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), (0, 0, 0)), Image.new("RGB", (8, 8), (255, 255, 255))]
    more: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = file(frames[0], kind, save_all=True, append_images=frames[1:], **more)
    assert pixels(decode(data, MANY)).max() == 0


@pytest.mark.parametrize(
    ("kind", "said"), [(np.int32, "mode I, whole"), (np.float32, "mode F, fl")]
)
def test_numbers_of_unknown_range_are_refused(kind: type, said: str) -> None:
    data = file(Image.fromarray(np.ones((8, 8), dtype=kind)), "TIFF")
    with pytest.raises(ValueError, match=said):
        decode(data, MANY)


def test_the_limit_of_pixels_is_the_config_s(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file(COLOURS, "PNG")
    with pytest.raises(ValueError, match=r"^40 x 20 pixels, more than data\.max_pixels=799$"):
        decode(data, 799)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's: it would refuse
    with warnings.catch_warnings(), quietly():
        assert decode(data, 800).size == (40, 20)
    assert Image.MAX_IMAGE_PIXELS == 100
