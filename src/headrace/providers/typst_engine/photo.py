"""Photos made ready for a template: checked before they are decoded, upright, not too large."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageCms, ImageOps

from headrace.photo import (
    FORMATS,
    PHOTO_BYTES_MAX,
    PHOTO_PIXELS_MAX,
    PhotoRefusedError,
    find_photo,
    read_photo,
)

_KEPT = 64
_DRAWABLE = {"1": "L", "P": "RGBA", "PA": "RGBA", "LA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}


def prepare(body: bytes, name: str, longest_px: int) -> tuple[bytes, str]:
    """Return the photo as upright JPEG or PNG of at most ``longest_px``, and its extension.

    The header is checked before any pixel is decoded. A photo that needs no change is
    passed through. Raises ``PhotoRefusedError``.
    """
    if len(body) > PHOTO_BYTES_MAX:
        raise PhotoRefusedError(
            f"the photo {name!r} has {len(body):,} bytes; {PHOTO_BYTES_MAX:,} are allowed"
        )
    image = _open(body, name)
    turned = image.getexif().get(0x0112, 1) != 1
    fits = max(image.size) <= longest_px and not turned and "icc_profile" not in image.info
    if fits and image.format in ("PNG", "JPEG") and image.mode in ("RGB", "RGBA", "L"):
        return body, "png" if image.format == "PNG" else "jpg"
    try:
        return _redraw(image, longest_px)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PhotoRefusedError(
            f"the photo {name!r} is damaged: {error}", remedy="Open it and save it again."
        ) from error


def _open(body: bytes, name: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(body), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name, "far more than") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise PhotoRefusedError(
            f"the photo {name!r} is not a PNG, JPEG, WebP or GIF image",
            remedy="Save it as one of these; SVG and PDF are not read.",
        ) from error
    width, height = image.size
    if width * height > PHOTO_PIXELS_MAX:
        raise _too_many_pixels(name, f"{width} x {height}, more than")
    if width < 1 or height < 1:
        raise PhotoRefusedError(f"the photo {name!r} has no pixels")
    return image


def _too_many_pixels(name: str, size: str) -> PhotoRefusedError:
    return PhotoRefusedError(
        f"the photo {name!r} would unpack to {size} {PHOTO_PIXELS_MAX // 1_000_000} megapixels",
        remedy="Save it at a smaller size.",
    )


def _redraw(image: Image.Image, longest_px: int) -> tuple[bytes, str]:
    image.draft(None, (longest_px, longest_px))
    profile = image.info.get("icc_profile")
    drawn: Image.Image = ImageOps.exif_transpose(image)
    if drawn.mode == "P" and "transparency" not in drawn.info:
        drawn = drawn.convert("RGB")
    drawn = drawn.convert(_DRAWABLE.get(drawn.mode, drawn.mode))
    if drawn.mode not in ("RGB", "RGBA", "L"):
        drawn = drawn.convert("RGB")
    drawn.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS, reducing_gap=3.0)
    drawn = _to_srgb(drawn, profile)
    out = io.BytesIO()
    if drawn.mode == "RGBA":
        drawn.save(out, "PNG", compress_level=1)
        return out.getvalue(), "png"
    drawn.save(out, "JPEG", quality=93, subsampling=0)
    return out.getvalue(), "jpg"


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile or image.mode == "L":
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        changed = ImageCms.profileToProfile(image, source, target, outputMode=image.mode)
    except (ImageCms.PyCMSError, OSError):
        return image  # an unreadable profile leaves the numbers as they are
    return changed or image


class PhotoShelf:
    """The prepared photos of one worker: a bounded number of files below the Typst root.

    Rows often share photos, so the last ones are kept, named by what they were made of.
    """

    def __init__(self, folder: Path, kept: int = _KEPT) -> None:
        self._folder = folder
        self._kept = kept
        self._files: OrderedDict[str, Path] = OrderedDict()
        folder.mkdir(parents=True, exist_ok=True)

    def from_path(self, name: str, folders: Sequence[Path], longest_px: int) -> Path:
        """Return the prepared file of a photo named by a row; raises as the functions above."""
        path = find_photo(name, folders)
        info = path.stat()
        mark = f"{path}|{info.st_mtime_ns}|{info.st_size}|{info.st_ino}|{longest_px}"
        key = hashlib.sha256(mark.encode(errors="surrogateescape")).hexdigest()
        return self._kept_file(key) or self._keep(key, read_photo(path, name), name, longest_px)

    def from_bytes(self, body: bytes, name: str, longest_px: int) -> Path:
        """Return the prepared file of an image given as bytes; raises ``PhotoRefusedError``."""
        key = hashlib.sha256(body + b"|%d" % longest_px).hexdigest()
        return self._kept_file(key) or self._keep(key, body, name, longest_px)

    def _kept_file(self, key: str) -> Path | None:
        if key in self._files:
            self._files.move_to_end(key)
        return self._files.get(key)

    def _keep(self, key: str, body: bytes, name: str, longest_px: int) -> Path:
        prepared, extension = prepare(body, name, longest_px)
        # Not guessable by a template: the key covers facts that only the row's owner knows,
        # and the folder's name is random.
        file = self._folder / f"{key}.{extension}"
        file.write_bytes(prepared)
        self._files[key] = file
        while len(self._files) > self._kept:
            _, old = self._files.popitem(last=False)
            old.unlink(missing_ok=True)
        return file
