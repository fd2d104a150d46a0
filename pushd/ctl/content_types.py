"""The content type of a file that is published."""

import mimetypes

_COMPRESSED = {
    "br": "application/x-brotli",
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
    "zstd": "application/zstd",
}
"""The types of compressed files by their encoding: the type of what they contain would not be that of the data."""


def content_type_of_file(name: str, data: bytes) -> str | None:
    """Return the content type of a file by its name; None if the daemon should find it by the data.

    :param name: path of the file.
    :param data: its contents.
    """
    content_type, encoding = mimetypes.guess_type(name, strict=False)
    if encoding is not None:
        return _COMPRESSED.get(encoding)
    if content_type is None or content_type == "text/plain":
        return None
    if not content_type.startswith("text/"):
        return content_type
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return content_type
    return f"{content_type}; charset=utf-8"
