"""The meaning of names of folders: a side of the split, images or masks, or nothing, in any case and spelling.

``Training``, ``train2017``, ``train_set``, ``TRAIN-IMAGES`` and ``trainset`` all say the training side. A name says
something only if all of its words do: ``train station`` does not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath

TRAIN, VAL, TEST = "train", "val", "test"
IMAGES, MASKS = "images", "masks"

_SIDES = {
    TRAIN: "train training trn 训练 訓練",
    VAL: "val valid validation validate validating vali dev development eval evaluation evaluate holdout heldout 验证 "
    "驗證",
    TEST: "test testing tst 测试 測試",
}
_KINDS = {
    IMAGES: "image images img imgs 图像 图片 圖像 圖片",
    MASKS: "mask masks label labels annotation annotations annot annots ann anns gt gts groundtruth segmentation "
    "segmentations seg segs segmap segmaps 标签 标注 掩码 掩膜 標籤",
}
# Words that say nothing alone, but do not spoil a name either.
_AFFIXES = (
    "set sets data dataset datasets dir dirs folder folders split splits part file files jpeg jpegs jpg jpgs png pngs "
    "raw all full original originals orig class classes semantic binary truth ground 集 数据 数据集 文件夹"
)
# Words that say a kind only where another folder says the other kind.
_WEAK = {
    IMAGES: "photo photos picture pictures pic pics frame frames rgb input inputs jpeg jpegs jpegimages original raw x "
    "照片 原图",
    MASKS: "target targets output outputs semantic semantics truth y",
}
# Short for sides; a folder alone may be called so for any reason.
_SHORT = frozenset(("tr", "va", "vl", "ts", "te"))

_WORDS = {word: ("side", side) for side, words in _SIDES.items() for word in words.split()}
_WORDS |= {word: ("kind", kind) for kind, words in _KINDS.items() for word in words.split()}
_WEAK_WORDS = {word: kind for kind, words in _WEAK.items() for word in words.split()}
_KNOWN = {**dict.fromkeys(_AFFIXES.split(), ("", "")), **_WORDS}
# The union of both sides, which VOC has a list of; in a folder the other side is then test.
_KNOWN["trainval"] = _KNOWN["trainvalid"] = ("side", TRAIN)
_LONGEST = max(map(len, _KNOWN))


@dataclass(frozen=True)
class Role:
    """The meaning of a name.

    Args:
        side: ``"train"``, ``"val"`` or ``"test"``; None if it says none.
        kind: ``"images"`` or ``"masks"``; None if it says none.
    """

    side: str | None = None
    kind: str | None = None


@lru_cache(maxsize=4096)
def role_of(name: str) -> Role | None:
    """Return what the name of a folder says; None for any name that has another word in it."""
    found: dict[str, str] = {}
    words = _words(name)
    if words and words[-1] in ("tr", "ts"):  # nnU-Net's imagesTr and labelsTs
        role = role_of(" ".join(words[:-1]))
        return Role(TRAIN if words[-1] == "tr" else TEST, role.kind) if role is not None and role.kind else None
    for word in _joined(words):
        parts = _split(word)
        if parts is None:
            return None
        for what, value in parts:
            if what and found.setdefault(what, value) != value:
                return None
    if words == ("ground", "truth"):
        found["kind"] = MASKS
    return Role(found.get("side"), found.get("kind")) if found else None


@lru_cache(maxsize=4096)
def weak_kind_of(name: str) -> str | None:
    """Return the kind that a name says only near a folder of the other kind, as ``photos`` near ``masks``."""
    kinds = {_WEAK_WORDS.get(word) for word in _words(name)}
    return kinds.pop() if len(kinds) == 1 else None


def may_be_sides(names: Sequence[str]) -> bool:
    """True if names are short for sides, as ``tr`` and ``va``, which say nothing alone."""
    return len(names) > 1 and {name.lower() for name in names} <= _SHORT


def side_of_word(word: str) -> str | None:
    """Return the side that a word in a table says."""
    role = role_of(word)
    return role.side if role is not None and role.kind is None else None


def shown(path: PurePath | str) -> str:
    r"""Return a name or path as text that can be written anywhere: bytes that are not UTF-8 become ``\xff``."""
    text = path.as_posix() if isinstance(path, PurePath) else path
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case, without numbers: ``JPEGImages2012`` has ``jpeg`` and ``images``."""
    text = unicodedata.normalize("NFKC", name)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return tuple(word for word in re.split(r"[\W\d_]+", text.lower()) if word)


def _joined(words: tuple[str, ...]) -> list[str]:
    """Join words that say something together alone: ``hold`` and ``out``."""
    found: list[str] = []
    for word in words:
        if found and found[-1] not in _KNOWN and found[-1] + word in _WORDS:
            found[-1] += word
        else:
            found.append(word)
    return found


def _split(word: str) -> list[tuple[str, str]] | None:
    """Divide a word into known words, the longest first: ``trainset`` is ``train`` and ``set``."""
    if word in _KNOWN:
        return [_KNOWN[word]]
    for length in range(min(len(word) - 1, _LONGEST), 1 if word.isascii() else 0, -1):
        if word[:length] in _KNOWN:
            rest = _split(word[length:])
            if rest is not None:
                return [_KNOWN[word[:length]], *rest]
    return None
