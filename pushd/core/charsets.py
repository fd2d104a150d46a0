"""Charsets of text that is published in another encoding than UTF-8, and the codecs that decode them."""

UTF8_LABELS = frozenset({"utf-8", "utf8", "unicode-1-1-utf-8"})
"""The labels of UTF-8, in lower case."""
_ISO_8859 = (*range(1, 12), *range(13, 17))
_WINDOWS = (874, *range(1250, 1259))
_LABELS = {
    "ascii": ("us-ascii", "ascii"),
    "iso8859_1": ("latin1", "l1"),
    "iso8859_2": ("latin2", "l2"),
    "iso8859_9": ("latin5", "l5"),
    "iso8859_15": ("latin9", "l9", "latin-9"),
    "cp437": ("ibm437", "cp437"),
    "cp850": ("ibm850", "cp850"),
    "cp866": ("ibm866", "cp866"),
    "koi8_r": ("koi8-r",),
    "koi8_u": ("koi8-u",),
    "mac_roman": ("macintosh",),
    "big5": ("big5",),
    "gb2312": ("gb2312",),
    "gbk": ("gbk",),
    "gb18030": ("gb18030",),
    "euc_jp": ("euc-jp",),
    "iso2022_jp": ("iso-2022-jp",),
    "shift_jis": ("shift_jis", "shift-jis", "sjis"),
    "cp932": ("windows-31j",),
    "euc_kr": ("euc-kr",),
    "utf_16": ("utf-16",),
    "utf_16_le": ("utf-16le",),
    "utf_16_be": ("utf-16be",),
    "utf_32": ("utf-32",),
}
CODECS: dict[str, str] = {
    **{label: codec for codec, labels in _LABELS.items() for label in labels},
    **{f"iso-8859-{number}": f"iso8859_{number}" for number in _ISO_8859},
    **{f"{prefix}{number}": f"cp{number}" for number in _WINDOWS for prefix in ("windows-", "cp")},
}
"""The codecs of Python by label, in lower case (IANA Character Sets). The list is fixed, since `codecs.lookup` imports
modules and keeps every unknown name, and because some codecs take quadratic time.
"""
