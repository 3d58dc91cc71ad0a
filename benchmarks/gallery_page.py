"""The words of docs/gallery.md and docs/gallery.zh.md."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from saccade.catalog import CATALOG


@dataclass(frozen=True)
class Shown:
    """The kinds of tiles in a mechanism's figure, as keys of `KINDS`."""

    name: str
    kinds: tuple[str, ...]


KINDS = {
    "weights": ("what the ringed point attends to, for two points", "圆圈所在点的关注(两个点)"),
    "shared": ("the one map that all points share", "各点共用的注意力图"),
    "spatial": ("the spatial gate, dark to bright", "空间门,由暗到亮"),
    "columns": ("channel to channel in the middle column", "中间一列的通道间权重"),
    "rows": ("channel to channel in the middle row", "中间一行的通道间权重"),
    "channels": ("channel to channel", "通道间权重"),
    "covariance channel": ("how the channels vary together", "通道之间的协方差"),
    "covariance spatial": ("how positions vary together", "位置之间的协方差"),
    "gates": ("the channel gates of each place, sorted", "各处排序后的通道门"),
}
PAGES = (
    """# Gallery

[中文](gallery.zh.md)

One figure of each mechanism, from a network trained with it on the embedded demo (`saccade compare`, seed 0, 300 steps),
all of the same validation scene: notes with digits, some of which can be read only where another note shows the same digit.
Below it stands the schematic of the mechanism. `make gallery` trains the networks and draws all of this; how to make such
pictures of your own images stands in [See it](look.md).

## Does it matter who asks?

Query dependence over {scenes} validation scenes, 0 to 1: how much of its weight attention moves elsewhere when another point
asks (in FLA, when the same channel asks in another column or row); and the measure of the GCNet paper, half of one minus
the cosine. GCNet found that in Non-local blocks trained on ImageNet and COCO it hardly matters who asks. These small
networks learned:

| mechanism | weight that moves | cosine measure |
|---|---|---|
{rows}

One seed each: the numbers describe these networks, not the mechanisms at large.
""",
    """# 图库

[English](gallery.md) · **中文**

每种机制一幅图,取自在内置演示上训练过的网络(`saccade compare`,种子 0,300 步),都是同一幅验证场景:便签上写有数字,其中一些只有参照写着同一数字的另一张便签才能认出。图下是机制的结构图。
`make gallery` 训练这些网络并画出全部内容;如何为自己的图像作图,见[看一看](look.zh.md)。

## 由谁来查询有区别吗?

在 {scenes} 幅验证场景上的查询依赖度,0 到 1:换一个点查询时(FLA 为同一通道在另一列或另一行查询时),注意力有多少权重移到别处;以及 GCNet 论文的度量,即一减余弦的一半。GCNet 发现,在 ImageNet 和
COCO 上训练的 Non-local 模块几乎不依赖于由谁查询。这些小网络学到的是:

| 机制 | 移位的权重 | 余弦度量 |
|---|---|---|
{rows}

每种只有一个种子:这些数字描述的是这些网络,而非机制的一般性质。
""",
)
SECTION = (
    "\n## {name}\n\n{title}, {paper}.\n\n![{name}: {said}](images/gallery/{name}.png)\n\nThe image; {said}.\n\n"
    "![The schematic of {name}](images/schematics/{name}.svg)\n",
    "\n## {name}\n\n{title},{paper}。\n\n![{name}:{said}](images/gallery/{name}.png)\n\n图像;{said}。\n\n"
    "![{name} 的结构图](images/schematics/{name}.svg)\n",
)


def write_pages(docs: Path, shown: Sequence[Shown], dependence: Mapping[str, tuple[float, float]], scenes: int) -> None:
    """Write both pages.

    Args:
        docs: The folder.
        shown: The figures there are.
        dependence: Query dependence by both measures.
        scenes: Over how many scenes.
    """
    rows = "\n".join(f"| `{name}` | {moved:.3f} | {cosine:.3f} |" for name, (moved, cosine) in dependence.items())
    for language, name in enumerate(("gallery.md", "gallery.zh.md")):
        text = PAGES[language].format(scenes=scenes, rows=rows)
        for one in shown:
            said = ("; ", ";")[language].join(KINDS[kind][language] for kind in one.kinds)
            entry = CATALOG[one.name]
            text += SECTION[language].format(name=one.name, title=entry.title, paper=entry.paper, said=said)
        (docs / name).write_text(text, encoding="utf-8")
