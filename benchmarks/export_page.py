"""The texts of docs/export.md in both languages; `benchmarks.export` puts the measurements into them."""

# ruff: noqa: E501

TEXTS = {
    "en": {
        "other": "**English** · [中文](export.zh.md)",
        "title": "Export",
        "intro": """`saccade export` writes a trained network as a file for another runtime, runs the file there, and keeps it only if it is
the same network:

```
saccade export saccade-train/photos --to onnx --out photos.onnx
saccade predict photos --model photos.onnx
saccade evaluate photos --model photos.onnx
```

Batch, height and width are free, unless `--size H,W` fixes height and width. The file is compared with the network at the given size
and at four others (odd sides, other aspects, batches of 1 and 3), on drawn images and on images of the training's folder; the table
that is printed has the relative error, the agreement of predictions, time and memory. If a difference exceeds the tolerance, nothing
is left under the name and the exit status is 1. Where the runtime is not installed, the name says `unverified`.

`--with-pre` puts the standardisation into the file, which then takes uint8 images (B, 3, H, W) in RGB; it never resizes. `--with-post`
returns probabilities, the class of each pixel, or key points with their confidences; the output of the network follows them as the last
one, from which `predict` and `evaluate` start with every protocol. Key points fix the size to that of training. Classes, sizes, mechanisms, source, versions and licence stand in the metadata of
the file under `saccade`, as JSON. `examples/` shows each runtime without saccade, with numpy alone.

| extra | for |
| --- | --- |
| `saccade-attention[onnx]` | `--to onnx`, run by ONNX Runtime |
| `saccade-attention[openvino]` | `--to openvino` |
| `saccade-attention[executorch]` | `--to executorch`, with the kernels of XNNPACK |
| `saccade-attention[litert]` | `--to litert`; it may need a torch of its own |

OpenVINO and NNCF collect usage data by default, as their pages say; `opt_in_out --opt_out`, a command they install, stops it.

`--half` stores weights in half precision; the energies of attention between channels and covariances stay float32. `--int8 FOLDER`
calibrates 8 bits with the images of a folder; softmax and gates stay in float. For each mechanism the command measures error and
agreement of predictions with its layers in 8 bits and in float, the rest of the network being in 8 bits, on images that the ranges were
not found on if the folder has more than 80; it says both, and leaves those mechanisms in float that lose by it. Weights take 7 bits,
since processors without VNNI add two products in 16 bits, which 8 bits overflow without a word; ranges are the extremes of all images.""",
        "cells": "Largest relative error, each mechanism in a small network",
        "cells_note": "Over all sizes compared, with random weights; `fixed` is written with `--size`, the others leave batch, height and width free. Measured with {versions}.",
        "open": "Empty cells are still to be measured: the command takes them up where it ended.",
        "count": "{way}: {right} of {all}",
        "tables": "Attention over positions",
        "tables_note": "512 channels, {side} x {side}, float32, one thread: peak memory above what the process held, and processor time, of the authors' form and of ours, exported by the same exporter. In ONNX files softmax attention runs over blocks of queries (`Scan`), made of standard operators; in OpenVINO it is one operator. Neither holds the table of all pairs of positions. Dot products associate in both: keys and values make a small matrix first. The concatenation form of non-local attention still does.",
        "columns": ("mechanism", "runtime", "authors' MiB", "ours", "authors' s", "ours"),
        "why": "Why cells are empty",
        "limits": """- Attention over positions in `torch-export`, `torchscript`, `executorch` and `litert` files is the definition, with its table.
- `torch-export` and `torchscript` are not written in 8 bits, `executorch` and `litert` neither in 8 bits nor in half precision.
- ONNX Runtime 1.32 joins a transposition and a product with a vector into one operator that is wrong
  (`findings/onnxruntime-transposed-vector.sh`); here such a vector is a matrix of one column, which is right.
- OpenVINO does not pool a map of one position in windows of two, as some networks do below 32 pixels.
- ExecuTorch 1.5 plans memory of FLA's grids for the size of the example, and its runtime stops at others: no file is left.
- LiteRT: litert-torch cannot leave sizes free, so `--size` or the size of training fixes them.
- Other exporters take networks with mechanisms too: `torch.onnx.export` in both forms, `torch.jit.trace`, and OpenVINO's own
  conversion give right numbers at any size. OpenVINO fuses a traced softmax(X Xᵀ) X over the wrong axes; here the maximum is
  written out, which keeps it from that.""",
    },
    "zh": {
        "other": "[English](export.md) · **中文**",
        "title": "导出",
        "intro": """`saccade export` 把训练好的网络写成另一个运行时的文件,在那里运行,只有与原网络相同才保留:

```
saccade export saccade-train/photos --to onnx --out photos.onnx
saccade predict photos --model photos.onnx
saccade evaluate photos --model photos.onnx
```

批量、高和宽都不固定,除非用 `--size H,W` 固定高宽。文件在给定的尺寸和另外四个尺寸(奇数边长、其他宽高比、批量 1 和 3)上,
用绘制的图像和训练文件夹里的图像与原网络比较;打印的表格包括相对误差、预测的一致比例、时间和内存。差异超过容限时,
该名称下不留任何文件,退出状态为 1。没有安装运行时的,文件名里会写明 `unverified`。

`--with-pre` 把标准化放进文件,文件于是接受 uint8 的 RGB 图像 (B, 3, H, W);它从不缩放。`--with-post` 返回概率、每个像素的类别,或关键点
及其置信度;网络本身的输出排在最后,`predict` 和 `evaluate` 由它开始,可用任何协议。有关键点时,尺寸固定为训练尺寸。
类别、尺寸、机制、来源、版本和许可证以 JSON 写在文件元数据的 `saccade` 一项里。`examples/` 为每个运行时给出不依赖 saccade、只用 numpy 的例子。

| 附加组件 | 用途 |
| --- | --- |
| `saccade-attention[onnx]` | `--to onnx`,由 ONNX Runtime 运行 |
| `saccade-attention[openvino]` | `--to openvino` |
| `saccade-attention[executorch]` | `--to executorch`,使用 XNNPACK 的内核 |
| `saccade-attention[litert]` | `--to litert`;可能需要单独的 torch |

OpenVINO 和 NNCF 默认收集使用数据(见其文档);它们安装的命令 `opt_in_out --opt_out` 可以关闭。

`--half` 以半精度存储权重;通道注意力的能量和协方差仍为 float32。`--int8 FOLDER` 用文件夹里的图像校准 8 位量化;softmax 和门保持浮点。
命令对每种机制分别测量其各层用 8 位和用浮点时的误差与预测一致比例(网络其余部分为 8 位;文件夹多于 80 张图像时,用没有参与校准的图像),
说明两者,并让因此变差的机制保持浮点。权重用 7 位:没有 VNNI 的处理器以 16 位累加两个乘积,8 位会悄悄溢出;数值范围取所有图像的极值。""",
        "cells": "最大相对误差:每种机制放在一个小网络里",
        "cells_note": "取所有比较过的尺寸,权重为随机;`fixed` 由 `--size` 固定尺寸,其余的批量、高和宽都不固定。测量所用版本:{versions}。",
        "open": "空格尚未测量:再次运行同一命令会接着测量。",
        "count": "{way}:{all} 个中的 {right} 个",
        "tables": "位置之间的注意力",
        "tables_note": "512 通道,{side} x {side},float32,单线程:作者写法与我们的写法由同一导出器导出后,超出进程原有内存的峰值,以及处理器时间。ONNX 文件里 softmax 注意力按查询分块运行(`Scan`),只用标准算子;OpenVINO 里是一个算子。两者都不保存所有位置对的大表。点积在两者中都先结合:键和值先乘成小矩阵。非局部注意力的 concatenation 形式仍然保存。",
        "columns": ("机制", "运行时", "作者写法 MiB", "我们的", "作者写法 s", "我们的"),
        "why": "为什么有空格",
        "limits": """- `torch-export`、`torchscript`、`executorch` 和 `litert` 文件里,位置之间的注意力是定义形式,含大表。
- `torch-export` 和 `torchscript` 不写成 8 位,`executorch` 和 `litert` 既不写成 8 位也不写成半精度。
- ONNX Runtime 1.32 把转置和与向量的乘积合并成一个算子,结果是错的(`findings/onnxruntime-transposed-vector.sh`);这里的向量写成一列的矩阵,结果正确。
- OpenVINO 不以两格的窗口池化只有一个位置的特征图;有些网络在 32 像素以下会这样做。
- ExecuTorch 1.5 按示例的尺寸为 FLA 的网格规划内存,运行时在其他尺寸停止:不留下文件。
- LiteRT:litert-torch 不能让尺寸自由,因此由 `--size` 或训练尺寸固定。
- 其他导出器同样可用于含机制的网络:两种形式的 `torch.onnx.export`、`torch.jit.trace` 和 OpenVINO 自己的转换,在任何尺寸都给出正确的数。
  OpenVINO 会把跟踪得到的 softmax(X Xᵀ) X 沿错误的轴融合;这里把最大值写出来,就不会被融合。""",
    },
}
