"""Every word of the page of ``saccade look``, in English and Chinese."""

# ruff: noqa: E501
from __future__ import annotations

from saccade.report.bilingual import Bilingual

TEXTS: dict[str, tuple[str, str]] = {
    # frame
    "page_title": ("{name}: what does this pixel look at?", "{name}：这个像素在看哪里？"),
    "skip": ("Skip to the picture", "跳到图像"),
    "language": ("Language", "语言"),
    "theme": ("Light or dark", "浅色或深色"),
    "made_by": ("Made by saccade {version}.", "由 saccade {version} 生成。"),
    "colon": (": ", "："),
    "noscript": ("The picture follows the pointer once scripts are allowed for this page.", "允许本页运行脚本后，图像才会随指针变化。"),
    # first screen
    "question": ("What does this pixel look at?", "这个像素在看哪里？"),
    "untrained_none": ("untrained weights", "未经训练的权重"),
    "untrained_backbone": ("untrained weights of the mechanism", "机制的权重未经训练"),
    "why_untrained_none": ("All weights are random: this page shows how it works, not what a trained network attends to.",
                           "全部权重都是随机的：本页只演示用法，并不表示训练过的网络会关注什么。"),
    "why_untrained_backbone": ("The backbone's weights were given; those of the mechanism are random.", "主干网络的权重是给定的，机制的权重是随机的。"),
    "how_to": ("Move over the picture, or click to keep a point. Arrow keys move it; P pins it.", "在图上移动指针，点按可固定一点；方向键移动，P 键钉住以便比较。"),
    "stage": ("The picture: choose a point with the pointer or the arrow keys", "图像：用指针或方向键选择一点"),
    "alt_photo": ("{name}: the image", "{name}：图像"),
    "opacity": ("Strength", "强度"),
    "pin": ("Pin this point", "钉住此点"),
    "unpin": ("Remove point {number}", "移除点 {number}"),
    "asked": ("asked", "指定"),
    "point": ("Point {y}, {x}", "点 {y}, {x}"),
    "points": ("Points given with --query", "用 --query 指定的点"),
    "all_places": ("All places", "所有位置"),
    "in_bold": ("Select one to see it large.", "点选其一可放大查看。"),
    # what is said of a place
    "said_weights": ("{shares} in the {count} strongest of {cells} cells", "{cells} 格中最强的 {count} 格：{shares}"),
    "said_signed": ("products from {low} to {high}", "乘积 {low} 至 {high}"),
    "said_shared": ("the same for every point: {shares}", "各点相同：{shares}"),
    "said_spatial": ("gate here {value} ({low} to {high})", "此处的门 {value}（{low} 至 {high}）"),
    "said_channel": ("channel gates {low} to {high}, mean {mean}, the same everywhere", "通道门 {low} 至 {high}，平均 {mean}，处处相同"),
    "said_channel_too": ("; channel gates {low} to {high}", "；通道门 {low} 至 {high}"),
    "said_strips": ("channel to channel in this column and row", "此列与此行内的通道间权重"),
    "said_matrix": ("channel to channel, the same everywhere", "通道间权重，处处相同"),
    "said_covariance": ("covariance of {count} channels or positions", "{count} 个通道或位置的协方差"),
    "said_exact": (" (exact)", "（精确）"),
    "read_out": ("Point {y}, {x}. {place}: {said}", "点 {y}, {x}。{place}：{said}"),
    # comparing
    "compare_heading": ("Points compared", "各点比较"),
    "compare_note": ("The weight that two points give to the same cells, on the stored grid. 100%: both attend to the same.",
                     "两点赋予相同格子的权重（按存储的网格）。100%：两者关注相同。"),
    "shared_weight": ("{one} and {other}: {share}", "{one} 与 {other}：{share}"),
    "nothing_pinned": ("Pin two points to see how much attention they have in common.", "钉住两个点，可看到它们的关注有多少相同。"),
    # channels
    "channels_heading": ("Channels", "通道"),
    "gates_depth": ("Gates over depth", "各深度的门"),
    "gates_depth_note": ("One strip per place, the first place on top; channels from most to least open, {low} dark to {high} bright.",
                         "每处一条，首处在上；通道由最开到最闭，暗 {low}，亮 {high}。"),
    "open_most": ("most open", "最开"),
    "open_least": ("least open", "最闭"),
    "open_note": ("The feature maps that the gate multiplies.", "门所乘的特征图。"),
    "alt_feature": ("{place}: feature map of channel {channel}, gate {gate}", "{place}：通道 {channel} 的特征图，门 {gate}"),
    "alt_strip": ("{place}: channel gates, sorted", "{place}：排序后的通道门"),
    "matrix_channels": ("What each group of channels (row) takes from each (column)", "每组通道（行）从各组通道（列）取得的权重"),
    "matrix_covariance channel": ("How channels vary together", "通道之间的协方差"),
    "matrix_covariance spatial": ("How positions vary together", "位置之间的协方差"),
    "alt_matrix": ("{place}: {what}", "{place}：{what}"),
    "branches": ("Mean weight of each branch", "各分支的平均权重"),
    "branch": ("branch {number}", "分支 {number}"),
    "gathered": ("Where the first descriptors are gathered from", "前几个描述符取自何处"),
    "alt_gathered": ("{place}: where descriptor {number} is gathered from", "{place}：描述符 {number} 取自何处"),
    # predictions
    "predictions_heading": ("Prediction", "网络的判断"),
    "alt_regions": ("{name}: predicted classes", "{name}：预测的类别"),
    "of_pixels": ("{share} of the pixels", "占像素 {share}"),
    "class": ("class {number}", "类别 {number}"),
    "no_answer": ("The network returned nothing that this page can show.", "网络的输出无法在本页显示。"),
    "random_answer": ("The network is untrained, so this is chance.", "网络未经训练，因此这只是随机结果。"),
    # network
    "network_heading": ("The network", "网络"),
    "place": ("Place", "位置"),
    "mechanism": ("Mechanism", "机制"),
    "map": ("Feature map", "特征图"),
    "params": ("Parameters", "参数量"),
    "factors": ("Factors", "系数"),
    "dependence": ("Query dependence", "查询依赖度"),
    "dependence_note": (
        "Query dependence: the fraction of the attention weight that moves elsewhere with another query point, averaged over sampled points. "
        "0: all points attend to the same. g and gamma start at 0 and grow as the mechanism is used.",
        "查询依赖度：换一个点查询时，注意力平均有多少权重移到别处（对抽样的点取平均）。0 表示各点关注相同。g 与 gamma 从 0 开始，随机制被使用而增大。",
    ),
    "parameters_in_all": ("{name}: {count} parameters, {places} places; it read {height} × {width} pixels.",
                          "{name}：共 {count} 个参数，{places} 处机制；读入 {height} × {width} 像素。"),
    "schematics": ("How the mechanisms work", "机制的结构"),
    # exactness
    "exact_heading": ("How exact this is", "精确程度"),
    "exact_grid": ("The page stores what {queries} queries attend to on {sources} sources at {place} ({size} positions, {keys} sources).",
                   "{place}：本页存储 {queries} 个查询在 {sources} 个来源上的权重（共 {size} 个位置，{keys} 个来源）。"),
    "exact_rounding": ("Weights are stored in 8 bits; the largest rounding error is {rounding} of the largest weight of its row.",
                       "权重以 8 位存储；最大舍入误差为该行最大权重的 {rounding}。"),
    "exact_every": ("Every query is stored.", "每个查询都已存储。"),
    "exact_moved": ("For each point the nearest stored query is shown; measured on positions drawn at random, that moves {moved} of the weight on average.",
                    "每个点显示最近的已存查询；在随机抽取的位置上测得，平均有 {moved} 的权重因此移位。"),
    "exact_asked": ("Points given with --query are exact.", "用 --query 指定的点是精确的。"),
    "exact_draw": ("Colours are smoothed between cells; frames and numbers belong to single cells.", "颜色在格子之间经过平滑；方框与数字属于单个格子。"),
    "exact_image": ("The file is {height} × {width} pixels; the network read it at {read_height} × {read_width}.", "文件为 {height} × {width} 像素；网络读入时为 {read_height} × {read_width}。"),
    "exact_frames": ("The file has {frames} frames or pages; this is the first.", "文件有 {frames} 帧（页），此为第一帧。"),
}  # fmt: skip

WORDS = Bilingual(TEXTS)

SPOKEN = (
    "said_weights", "said_signed", "said_shared", "said_spatial", "said_channel", "said_channel_too", "said_strips",
    "said_matrix", "said_covariance", "said_exact", "read_out", "point", "shared_weight", "unpin", "nothing_pinned",
)  # fmt: skip
"""Keys of the texts that the script fills in."""
