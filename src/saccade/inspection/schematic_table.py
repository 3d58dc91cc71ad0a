"""Descriptions of each mechanism in its default form, which :mod:`saccade.inspection.schematics` draws.

A line ``name row text`` is a box (``|`` breaks its text), or a sign if the text is one of x . +; ``a > b label`` is an
arrow with the shape of the tensor along it. N = H W, M keys after pooling; the batch axis is omitted.
"""

from __future__ import annotations

_MAP = "C×H×W"


def _gate(*steps: tuple[str, str]) -> str:
    """Chain of (text, shape after it) parallel to the feature map, which it multiplies at the end."""
    return _chain(steps, "×")


def _chain(steps: tuple[tuple[str, str], ...], sign: str) -> str:
    lines, before, shape = [f"end 0 {sign}"], "x", _MAP
    for number, (text, after) in enumerate(steps):
        lines += [f"s{number} 1 {text}", f"{before} > s{number} {shape}"]
        before, shape = f"s{number}", after
    return "\n".join([*lines, f"{before} > end {shape}", "x > end", f"end > y {_MAP}"])


def _pairs(query: str, key: str, value: str, keys: str, width: str, last: str) -> str:
    """Queries, keys and values; `last` names the layers between the average and the sum."""
    return f"""
        q 1 {query}
        k 2 {key}
        v 3 {value}
        p 1.5 product,|softmax over {keys}
        m 2.5 average|of values
        z 2.5 {last}
        end 0 +
        x > end
        x > q {_MAP}
        x > k {_MAP}
        x > v {_MAP}
        q > p N×d
        k > p {keys}×d
        p > m N×{keys}
        v > m {keys}×{width}
        m > z N×{width}
        z > end {_MAP}
        end > y {_MAP}"""


_CAM = f"""
    p 1 -x·xᵀ,|softmax
    m 2 average of|channels
    g 2 times γ
    end 0 +
    x > end
    x > p C×N
    x > m C×N
    p > m C×C
    m > g {_MAP}
    g > end {_MAP}
    end > y {_MAP}"""

SCHEMATICS = {
    "se": _gate(("mean over|positions", "C"), ("linear,|relu", "C/16"), ("linear,|sigmoid", "C×1×1")),
    "se_var1": _gate(("mean over|positions", "C"), ("sigmoid", "C×1×1")),
    "se_var2": _gate(("mean over|positions", "C"), ("a weight for|each channel", "C"), ("sigmoid", "C×1×1")),
    "se_var3": _gate(("mean over|positions", "C"), ("C×C matrix", "C"), ("sigmoid", "C×1×1")),
    "eca": _gate(("mean over|positions", "C"), ("convolution of|k neighbours", "C"), ("sigmoid", "C×1×1")),
    "cbam": f"""
        a 1 mean over|positions
        b 2 maximum over|positions
        f 1 same layers,|C/16 wide, sum
        t 1 sigmoid
        c 0 ×
        d 1 mean, maximum|over channels
        e 1 7×7 conv,|norm, sigmoid
        end 0 ×
        x > c
        x > a {_MAP}
        x > b {_MAP}
        a > f C
        b > f C
        f > t C
        t > c C×1×1
        c > d {_MAP}
        d > e 2×H×W
        e > end 1×H×W
        c > end
        end > y {_MAP}""",
    "bam": f"""
        a 1 mean, layers,|C/16 wide
        b 2 1×1, two 3×3|dilated by 4, 1×1
        p 1.5 product,|sigmoid, 1 +
        end 0 ×
        x > end
        x > a {_MAP}
        x > b {_MAP}
        a > p C×1×1
        b > p 1×H×W
        p > end {_MAP}
        end > y {_MAP}""",
    "sk": f"""
        a 0 3×3 conv
        b 2 3×3 conv,|dilated by 2
        s 1 sum, mean|over positions
        f 1 linear, relu
        w 1 linear,|softmax over 2
        m 0 ×
        n 2 ×
        end 0 +
        x > a {_MAP}
        x > b {_MAP}
        a > m {_MAP}
        a > s {_MAP}
        b > s
        b > n {_MAP}
        s > f C
        f > w d
        w > m C×1×1
        w > n C×1×1
        m > end
        n > end {_MAP}
        end > y {_MAP}""",
    "psa": f"""
        a 1 1×1 conv
        b 2 1×1 conv,|softmax over N
        p 1.5 product
        f 1.5 1×1, norm,|sigmoid
        d 3 1×1 conv,|mean, softmax
        e 4 1×1 conv
        q 3.5 product
        g 3.5 sigmoid
        s 2.5 +
        end 0 ×
        x > a {_MAP}
        x > b {_MAP}
        x > d {_MAP}
        x > e {_MAP}
        a > p C/2×N
        b > p N×1
        p > f C/2
        f > s C×1×1
        d > q 1×C/2
        e > q C/2×N
        q > g 1×N
        g > s 1×H×W
        s > end {_MAP}
        x > end
        end > y {_MAP}""",
    "gsop": _gate(
        ("1×1 conv,|norm, relu", "d×N"), ("covariance of|channels", "d×d"), ("row by row,|4 numbers each", "4d"),
        ("1×1 conv,|sigmoid", "C×1×1"),
    ),
    "gc": _chain(
        (("1×1 conv,|softmax over N", "1×N"), ("weighted sum|of positions", "C"), ("linear, norm,|relu", "C/16"),
         ("linear", "C×1×1")), "+",
    ),
    "simplified_nl": _chain(
        (("1×1 conv,|softmax over N", "1×N"), ("weighted sum|of positions", "C"), ("linear", "C×1×1")), "+"
    ),
    "a2": f"""
        a 1 1×1 conv
        b 2 1×1 conv,|softmax over N
        c 3 1×1 conv,|softmax over n
        g 1.5 gather:|product
        d 2.5 distribute:|product
        z 2.5 1×1 conv
        end 0 +
        x > end
        x > a {_MAP}
        x > b {_MAP}
        x > c {_MAP}
        a > g m×N
        b > g N×n
        g > d m×n
        c > d n×N
        d > z m×N
        z > end {_MAP}
        end > y {_MAP}""",
    "non_local": _pairs("1×1 conv|query", "2×2 max pool,|1×1 conv key", "2×2 max pool,|1×1 conv value", "M", "C/2",
                        "1×1 conv,|norm"),
    "sagan": _pairs("1×1 conv|query", "1×1 conv key,|2×2 max pool", "1×1 conv value,|2×2 max pool", "M", "C/2",
                    "1×1 conv, γ"),
    "pam": _pairs("1×1 conv|query", "1×1 conv|key", "1×1 conv|value", "N", "C", "times γ"),
    "cam": _CAM,
    "dual": f"""
        p 1 PAM:|positions
        c 2 CAM:|channels
        end 0 +
        x > p {_MAP}
        x > c {_MAP}
        p > end {_MAP}
        c > end
        end > y {_MAP}""",
    "cs": f"""
        c 0 CAM:|channels
        p 0 PAM:|positions
        x > c {_MAP}
        c > p {_MAP}
        p > y {_MAP}""",
    "fla": f"""
        a 1 mean of rows,|linear
        b 2 mean of columns,|linear
        p 1 product with|columns, softmax
        q 2 product with|rows, softmax
        m 1 average|of channels
        n 2 average|of channels
        g 1.5 sum, γ
        end 0 +
        z 0 3×3 conv,|norm, relu
        x > end
        x > a {_MAP}
        x > b {_MAP}
        a > p H×C
        b > q W×C
        p > m W×C×C
        q > n H×C×C
        m > g {_MAP}
        n > g
        g > end {_MAP}
        end > z {_MAP}
        z > y {_MAP}""",
    "conv3x3": _chain((("3×3 conv,|norm from 0", _MAP),), "+"),
}  # fmt: skip
