"""Settings in the EXIF data of JPEGs.

ImageDescription has the JSON of `Settings`, in ASCII; UserComment has the `parameters` text, in UTF-16, where Stable
Diffusion web UI writes it and other tools read it.
"""

import json
from typing import TYPE_CHECKING

from .settings import Settings, own_version

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

_DESCRIPTION, _SOFTWARE = 0x010E, 0x0131
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_UTF_16 = b"UNICODE\0"  # character code of a UserComment, EXIF 2.32, 4.6.5
_MOST_BYTES = 65_533  # of a segment of a JPEG


def exif_of(settings: Settings) -> bytes | None:
    """EXIF data with the settings of an image; None where they are longer than a JPEG has room for."""
    from PIL.Image import Exif

    exif = Exif()
    exif[_DESCRIPTION] = json.dumps(json.loads(settings.to_json()))
    exif[_SOFTWARE] = f"triptych {own_version()}"
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _UTF_16 + settings.to_parameters().encode("utf-16-be", "replace")
    data = exif.tobytes()
    return data if len(data) <= _MOST_BYTES else None


def json_in_exif(image: "PILImage") -> str | None:
    """The JSON of settings in an image's EXIF data, None where it has none or they cannot be read."""
    try:
        text = image.getexif().get(_DESCRIPTION)
    except Exception:  # Pillow raises errors of any class for damaged data
        return None
    return text if isinstance(text, str) and text.startswith("{") else None


def parameters_in_exif(image: "PILImage") -> str | None:
    """The `parameters` text in an image's EXIF data, None where it has none or it cannot be read."""
    try:
        comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    except Exception:  # Pillow raises errors of any class for damaged data
        return None
    if not isinstance(comment, bytes) or not comment.startswith(_UTF_16):
        return None
    return comment.removeprefix(_UTF_16).decode("utf-16-be", "replace")
