"""Every word of the report, in English and Chinese.

Each text is one line, however long, because a text in pieces is hard to read.
A text may contain simple markup and ``{names}``, whose values are escaped: a folder called ``<b>`` stays a folder.
"""

# ruff: noqa: E501
from __future__ import annotations

from saccade.report.bilingual import SPACE, Bilingual, breakable, shown

TEXTS: dict[str, tuple[str, str]] = {
    # frame
    "page_title": ("{name}: which attention helps?", "{name}：哪种注意力有用？"),
    "comparison_of": ("Comparison on {name}", "在 {name} 上的比较"),
    "skip": ("Skip to the result", "跳到结果"),
    "language": ("Language", "语言"),
    "theme": ("Light or dark", "浅色或深色"),
    "made_by": ("Made by saccade {version}. This page is one file and loads nothing from any network.",
                "由 saccade {version} 生成。本页是单个文件，不从任何网络加载内容。"),
    # verdict
    "helped": ("{names} helped", "{names} 有帮助"),
    "hurt": ("{names} hurt", "{names} 有损害"),
    "unclear": ("{names}: can't tell", "{names}：无法判断"),
    "joined": ("{first} and {last}", "{first} 和 {last}"),
    "joined_or": ("{first} or {last}", "{first} 或 {last}"),
    "joined_more": ("{first} and {rest} more", "{first} 等 {count} 个"),
    "all_unclear": ("Can't tell: the data does not show that {names} made a difference.",
                    "无法判断：数据没有显示 {names} 带来差别。"),
    "too_few_seeds": ("Can't tell yet: {seeds} of the 3 seeds that a verdict needs.",
                      "暂时无法判断：下结论至少需要 3 个种子，现在只有 {seeds} 个。"),
    "nothing_compared": ("Nothing to compare: no arm was compared with one without attention.",
                         "没有可比较的内容：缺少与无注意力方案的差值。"),
    "lead": (
        "Gain in {metric} over the same network without attention ({reference}: {score}), after {steps} steps: "
        "mean of {seeds} paired seeds on {images} validation images.",
        "与没有注意力的同一网络（{reference}：{score}）相比，训练 {steps} 步后的 {metric} 增益："
        "{seeds} 个配对种子、{images} 张验证图像上的平均值。",
    ),
    "lead_one": (
        "Gain in {metric} over the same network without attention ({reference}: {score}), after {steps} steps: "
        "one seed, {images} validation images.",
        "与没有注意力的同一网络（{reference}：{score}）相比，训练 {steps} 步后的 {metric} 增益："
        "1 个种子，{images} 张验证图像。",
    ),
    "lead_stages": (
        "Gain in {metric} over the same network without attention ({reference}: {score}), after {steps} steps: "
        "mean of at most {seeds} paired seeds, added in stages, on {images} validation images.",
        "与没有注意力的同一网络（{reference}：{score}）相比，训练 {steps} 步后的 {metric} 增益："
        "分阶段增加、至多 {seeds} 个配对种子、{images} 张验证图像上的平均值。",
    ),
    "terms": (
        "An arm is the network with one mechanism, or without any. Paired: for each seed all arms start alike and see the same images in "
        "the same order, so that they are compared seed by seed. A simultaneous interval holds for all arms at once.",
        "“方案”指装有某一种机制（或不装机制）的网络。“配对”指同一种子下各方案起点相同、以相同顺序看到相同图像，因此逐个种子比较。“联合区间”对全部方案同时成立。",
    ),
    "control_same": (
        "The control {name} has {params} more parameters and no attention, and gained {gain} ({verdict}): "
        "parameters alone do not explain the gain.",
        "对照 {name} 多了 {params} 个参数但没有注意力，增益为 {gain}（{verdict}）：仅靠增加参数解释不了上述增益。",
    ),
    "control_better": (
        "The control {name} has {params} more parameters and no attention, and also gained {gain}, {part} of what {best} gained: "
        "that part may come from parameters alone.",
        "对照 {name} 多了 {params} 个参数但没有注意力，也获得了 {gain} 的增益，相当于 {best} 增益的 {part}：这一部分可能只是来自更多的参数。",
    ),
    "field_same": (
        "The control {name} sees the whole map through dilated convolutions, with {params} more parameters and no attention, and gained "
        "{gain} ({verdict}): a larger field alone does not explain the gain.",
        "对照 {name} 用空洞卷积看到整张特征图，多了 {params} 个参数，没有注意力，增益为 {gain}（{verdict}）：仅靠更大的视野解释不了上述增益。",
    ),
    "field_better": (
        "The control {name} sees the whole map through dilated convolutions, with {params} more parameters and no attention, and also "
        "gained {gain}, {part} of what {best} gained: that part may come from the larger field alone.",
        "对照 {name} 用空洞卷积看到整张特征图，多了 {params} 个参数，没有注意力，也获得了 {gain} 的增益，相当于 {best} 增益的 {part}："
        "这一部分可能只是来自更大的视野。",
    ),
    "better": ("better", "更好"),
    "worse": ("worse", "更差"),
    "can't tell": ("can't tell", "无法判断"),
    "reference": ("reference", "参照"),
    "identical runs": ("identical runs", "结果完全相同"),
    "same score on every seed": ("same score on every seed", "每个种子的得分都相同"),
    "stopped early": ("stopped early", "提前停止"),
    "tied": (
        "A tie: on {images} validation images one image is {step} of the accuracy, and a difference of {wanted} could show "
        "from {needed} images on.",
        "得分相同：共 {images} 张验证图像，一张就占准确率的 {step}；要看出 {wanted} 的差异，至少需要 {needed} 张图像。",
    ),
    "unseen": (
        "What one can't tell may still differ: from these differences on, a verdict had a chance of {power}: {found}.",
        "“无法判断”不等于没有差别：差值从下列数值起，得出结论的机会为 {power}：{found}。",
    ),
    "tuned_verdict": ("With settings tuned alike for every arm ({trials} trials before each run): {verdict}",
                      "各方案同等调参之后（每次运行之前 {trials} 次试验）：{verdict}"),
    "fewer than 3 seeds": ("fewer than 3 seeds", "少于 3 个种子"),
    "no spread to judge by": ("no spread to judge by", "没有可供判断的波动"),
    # demo
    "demo_heading": ("The task", "任务"),
    "demo_task_notes": (
        "Sticky notes with handwritten digits lie on photographs, most of them too faint, blurred or torn to read; "
        "every pixel of a note must be given its digit. "
        "All notes of a scene show the same digit (sometimes two), so a network that looks at the readable notes elsewhere in the "
        "picture can name the unreadable ones, and one that sees only the neighbourhood has to guess.",
        "照片上贴着写有手写数字的便签，其中大多太淡、模糊或被撕破而无法辨认；任务是给便签的每个像素标出它的数字。"
        "同一场景的便签写的是同一个数字（有时是两个），因此能看到画面别处清晰便签的网络就能认出看不清的便签，只看局部的网络只能猜。",
    ),
    "demo_failure_notes": (
        "A failure shows the limit: where two digits share a scene and a note is too spoilt to tell which it belongs to, "
        "looking elsewhere can copy the wrong one.",
        "失败的例子说明了局限：当场景里有两种数字，而某张便签损坏得无法判断属于哪一种时，参考别处也可能抄来错误的数字。",
    ),
    "demo_task_chips": (
        "A chip with two rows of equal pins and two equal ends lies at any angle on a photograph; its four outer pins are to be "
        "found and named. Where a pin is can be seen on the spot; which one it is depends on the end that the dot is nearer to, and "
        "the dot may lie almost in the middle, farther from a corner than the network sees. Two arms are controls: a convolution of "
        "the size of psa, and the same convolution with a larger field. What the second one gains, attention need not be thanked for.",
        "一块芯片以任意角度放在照片上，两排引脚相同，两端也相同；任务是找到并命名最外侧的四个引脚。引脚在哪里，就近可见；它是哪一个，"
        "取决于圆点离哪一端更近，而圆点可能几乎在正中，离角上的距离超出网络的视野。有两个对照方案：与 psa 参数量相同的卷积，以及视野更大的同一卷积。"
        "后者得到的提升不必归功于注意力。",
    ),
    "demo_failure_chips": (
        "A failure shows the limit: with the dot close to the middle, both ends look nearly alike.",
        "失败的例子说明了局限：圆点接近正中时，两端几乎无法区分。",
    ),
    "demo_caveat": (
        "This is the result after {steps} steps, on a task made so that context helps: it says nothing about your own data.",
        "这是训练 {steps} 步之后的结果；这个任务本来就是为了让上下文有用而设计的，它不能说明您自己的数据。",
    ),
    # sections
    "differences_heading": ("How much, and how sure", "差多少，有多确定"),
    "differences_note": (
        "Difference in {metric} from {reference}. Vertical mark: mean. Bar: simultaneous 95% interval. Small dots: single seeds.",
        "与 {reference} 的 {metric} 之差。竖标：平均值；横条：联合 95% 区间；小点：各个种子。",
    ),
    "differences_note_plain": (
        "Difference in {metric} from {reference}. Vertical mark: mean. Small dots: single seeds. One seed gives no interval.",
        "与 {reference} 的 {metric} 之差。竖标：平均值；小点：各个种子。只有一个种子时没有区间。",
    ),
    "pictures_heading": ("Look at it", "看图"),
    "pictures_note": (
        "Validation images, the same for every arm, from its first run (seed {seed}). Select a picture to enlarge it.",
        "验证图像，各方案相同，取其第一次运行（种子 {seed}）的结果。点按图片可放大。",
    ),
    "chosen_note": (
        "They were chosen by rule: the two largest gains of {best} over {reference} in {metric}, the median one, and the smallest.",
        "图像按规则选出：就{metric}而言，{best} 相对 {reference} 增益最大的两张、居中的一张和最小的一张。",
    ),
    "attention_note": ("Below each arm is what its mechanism computed for the image.", "每个方案下方是其机制对该图像的计算结果。"),
    "live_note": ("Move over a picture with a marked point, or press arrow keys on it, to choose another query point; the nearest of at most 16 × 16 stored points is shown.",
                  "在带标记点的图上移动指针或按方向键，可选择另一查询点；显示的是最近的已存点（至多 16 × 16 个）。"),
    "legend_wrong": ("wrong pixels", "错误的像素"),
    "legend_sides": ("left: orange, right: blue; larger and less transparent: more confident",
                     "左：橙色，右：蓝色；越大、越不透明，置信度越高"),
    "confidence": ("mean confidence {value}", "平均置信度 {value}"),
    "alt_skeleton": ("{name}, arm {arm}: predicted key points", "{name}，方案 {arm}：预测的关键点"),
    "alt_true_skeleton": ("{name}: true key points", "{name}：真实关键点"),
    "legend_name": ("the class of a region", "区域的类别"),
    "legend_wrong_name": ("a region mostly wrong", "大部分错误的区域"),
    "legend_heat": ("low to high weight", "权重由小到大"),
    "legend_query": ("query point", "查询点"),
    "legend_source": ("its strongest sources", "权重最大的来源"),
    "success": ("Success", "成功"),
    "failure": ("Failure", "失败"),
    "typical": ("In between", "居中"),
    "gain_of": ("{metric} on this image, {best} against {reference}: {gain}", "此图的{metric}，{best} 相对 {reference}：{gain}"),
    "right pixels": ("right pixels", "正确像素比例"),
    "probability of the true class": ("probability of the true class", "真实类别的概率"),
    "image": ("image", "图像"),
    "truth": ("truth", "真值"),
    "wrong_pixels": ("{share} wrong", "错 {share}"),
    "unmarked_class": ("no colour: {name}", "不着色：{name}"),
    "spatial_gate": ("spatial gate {low} to {high}", "空间门 {low} 至 {high}"),
    "weights": ("3 brightest of {cells} cells: {top} of the weight (if even: {even})",
                "{cells} 格中最亮 3 格占权重 {top}（均匀时 {even}）"),
    "signed_weights": ("products with the query point, {low} to {high}", "与查询点的乘积，{low} 至 {high}"),
    "channel_gates": ("channel gates, {low} to {high}", "通道门，{low} 至 {high}"),
    "channel_gates_rows": ("channel gates of {places} places, first on top, {low} to {high}",
                           "{places} 处的通道门，首处在上，{low} 至 {high}"),
    "attends_channel": ("attends to channels", "关注通道"),
    "attends_spatial": ("attends to positions", "关注位置"),
    "attends_both": ("attends to channels and positions", "关注通道和位置"),
    "channel_weights": ("channel to channel, {channels} channels", "通道间权重，{channels} 个通道"),
    "strip_weights": ("channel to channel, {channels} channels, mean of all rows and columns",
                      "通道间权重，{channels} 个通道，所有行与列的平均"),
    "no_attention": ("no attention", "没有注意力"),
    "enlarge": ("Enlarge", "放大"),
    "close": ("Close", "关闭"),
    "alt_photo": ("{name}: the image", "{name}：图像"),
    "alt_truth": ("{name}: true regions", "{name}：真实区域"),
    "alt_prediction": ("{name}, arm {arm}: predicted regions, {share} of the pixels wrong",
                       "{name}，方案 {arm}：预测区域，{share} 的像素错误"),
    "alt_map": ("{name}, arm {arm}: {kind} at {place}", "{name}，方案 {arm}：{place} 处的{kind}"),
    "kind_weights": ("attention weights of the query point", "查询点的注意力权重"),
    "kind_spatial": ("spatial gate", "空间门"),
    "kind_channel": ("channel gates", "通道门"),
    "kind_channel_weights": ("channel attention weights", "通道注意力权重"),
    "true_is": ("true: {name}", "真实：{name}"),
    "is_true": ("true class", "真实类别"),
    "right": ("right", "正确"),
    "wrong": ("wrong", "错误"),
    "cost_heading": ("Score against cost", "分数与代价"),
    "cost_note": (
        "Up is better, left is cheaper. Bars: 95% interval of each arm over its seeds.",
        "越高越好，越靠左代价越低。竖条：每个方案在各种子上的 95% 区间。",
    ),
    "cost_note_plain": ("Up is better, left is cheaper.", "越高越好，越靠左代价越低。"),
    "cost_choice": ("Cost", "代价"),
    "params": ("Parameters", "参数量"),
    "macs": ("Multiply-adds (MACs)", "乘加次数（MACs）"),
    "latency_ms": ("Latency, ms", "延迟（毫秒）"),
    "peak_mib": ("Peak memory, MiB", "峰值内存（MiB）"),
    "train_seconds": ("Training time, s", "训练时间（秒）"),
    "alt_cost": ("{metric} of every arm against {cost}; the table has the same numbers.",
                 "每个方案的 {metric} 与{cost}；相同的数字见表格。"),
    "seeds_heading": ("Seed by seed", "逐个种子"),
    "seeds_note": (
        "A dot is one run, a vertical mark the mean of an arm. For a given seed all arms see the same data in the same order: where a "
        "line runs straight down, that seed shifted all arms alike, which leaves paired differences unchanged.",
        "每个点是一次运行，竖标是该方案的平均值。同一种子下各方案以相同的顺序看到相同的数据：线条竖直之处，该种子对各方案影响相同，配对差值不受其影响。",
    ),
    "seeds_scores": ("{metric} of every run", "每次运行的 {metric}"),
    "seeds_shifts": ("Above or below the arm's own mean; a line joins the runs of one seed", "高于或低于该方案平均值的量；同一种子的结果用线相连"),
    "alt_seeds_scores": ("{metric} of every run, one row per arm", "每次运行的 {metric}，每行一个方案"),
    "alt_seeds_shifts": ("{metric} of every run minus the mean of its arm; lines join the runs of one seed",
                         "每次运行的 {metric} 减去该方案平均值；同一种子的结果用线相连"),
    "seed": ("seed {seed}", "种子 {seed}"),
    "curves_heading": ("Learning curves", "学习曲线"),
    "curves_note": ("Line: mean over the seeds. Band: from the lowest to the highest seed.",
                    "线：各种子的平均值；带：从最低到最高的种子。"),
    "curves_note_one": ("One seed.", "一个种子。"),
    "curve_score": ("{metric} on validation images, by training step", "验证图像上的 {metric}，按训练步数"),
    "curve_loss": ("Training loss, by step", "训练损失，按步数"),
    "alt_curve": ("{what}, one line per arm", "{what}，每条线一个方案"),
    "table_heading": ("All arms", "全部结果"),
    "arm": ("Arm", "方案"),
    "interval": ("95% interval", "95% 区间"),
    "difference": ("Difference", "差值"),
    "simultaneous": ("Simultaneous interval", "联合区间"),
    "p_value": ("p", "p"),
    "verdict": ("Verdict", "结论"),
    "macs_short": ("MACs", "MACs"),
    "latency_short": ("Latency", "延迟"),
    "peak_short": ("Peak memory", "峰值内存"),
    "train_short": ("Training", "训练"),
    "seeds_of": ("{count} seeds", "{count} 个种子"),
    "table_note": ("Small figures under the costs: relative to {reference}. p: before the correction for {arms} arms.",
                   "代价下方的小字：相对 {reference} 的增减。p 为对 {arms} 个方案校正之前的值。"),
    "scrolls": ("The table scrolls sideways.", "表格可左右滑动。"),
    "places": ("Where each mechanism is inserted", "各机制的插入位置"),
    "others_heading": ("Other scores", "其他分数"),
    "others_note": ("Means over the seeds. The verdict rests on {metric} alone.", "各种子的平均值。结论只依据 {metric}。"),
    "by_heading": ("Where the gain is", "增益在哪里"),
    "by_note": ("{metric} of each part, and the difference from {reference}.", "各部分的 {metric}，以及与 {reference} 之差。"),
    "limits": ("limits {limits}", "界限 {limits}"),
    "by_size": ("By size of the object", "按物体大小"),
    "by_thinness": ("By thinness of the object", "按物体细长程度"),
    "limits_size": ("limits {limits} pixels", "界限 {limits} 像素"),
    "limits_thinness": ("limits of the elongation {limits}", "细长度界限 {limits}"),
    "small": ("small", "小"),
    "medium": ("medium", "中"),
    "large": ("large", "大"),
    "compact": ("compact", "紧凑"),
    "thin": ("thin", "细长"),
    "tuned_heading": ("Every arm tuned", "各方案调参之后"),
    "tuned_note": (
        "Before each run, {trials} trials on a part of the training images; the best one's setting was then trained on all of them. "
        "Settings: geometric mean over the seeds, smallest and largest in brackets.",
        "每次运行之前，用一部分训练图像做 {trials} 次试验，再以其中最好的设置在全部训练图像上训练。设置一列为各种子的几何平均，括号内为最小值与最大值。",
    ),
    "untuned": ("untuned", "未调参"),
    "tuned_arm": ("tuned", "调参后"),
    "learning_rate": ("Learning rate", "学习率"),
    "gate_factor": ("Factor of the gates", "门的系数"),
    "sensitivity": ("{metric} of the trials over the learning rate; line: mean, band: smallest to largest",
                    "试验的 {metric} 随学习率的变化；线：平均值，带：从最小到最大"),
    "alt_sensitivity": ("{metric} of the trials over the learning rate, one line per arm", "试验的 {metric} 随学习率的变化，每条线一个方案"),
    # how
    "how_heading": ("How it was measured", "如何测量"),
    "how_pairs": (
        "<b>Paired.</b> Seeds {seeds}. For each seed every arm gets the same images, the same batch order and the same starting weights "
        "of the shared part; the difference from {reference} is taken seed by seed.",
        "<b>配对。</b>种子 {seeds}。对每个种子，各方案使用相同的图像、相同的批次顺序，共享部分的初始权重也相同；与 {reference} 的差值逐个种子计算。",
    ),
    "start_shared": (
        "All arms start from one network trained beforehand, with the mechanism inserted so that at first it changes nothing. The claim is about this start.",
        "所有方案都从同一个预先训练好的网络开始，插入的机制起初不改变任何输出。结论只针对这个起点。",
    ),
    "start_fresh": (
        "For each seed a new starting network is trained; the mechanism is inserted so that at first it changes nothing.",
        "每个种子都重新训练一个起始网络；插入的机制起初不改变任何输出。",
    ),
    "start_pretrained": (
        "All arms start from the same pretrained weights, with the mechanism inserted so that at first it changes nothing.",
        "所有方案都从相同的预训练权重开始，插入的机制起初不改变任何输出。",
    ),
    "start_random": ("The shared part starts from random weights that change with the seed.", "共享部分从随种子变化的随机权重开始。"),
    "how_spread": (
        "<b>Two sources of uncertainty.</b> The spread over seeds: that pooled over all arms or that of the arm itself, whichever is larger. "
        "The choice of validation images: 200 bootstrap draws of the {images} images. Both are added.",
        "<b>两种不确定性。</b>种子之间的离散：取所有方案合并的标准差与该方案自身的标准差中较大者；验证图像的选择：对 {images} 张图像做 200 次自助抽样。两者相加。",
    ),
    "how_test": (
        "<b>The verdict.</b> Student's t for each arm, corrected by Holm's method so that all {arms} verdicts together are wrong in at most 5% of "
        "comparisons without a true difference. Fewer than 3 seeds give no verdict.",
        "<b>结论。</b>对每个方案做 Student t 检验，并用 Holm 方法校正，使得在没有真实差别的比较中，全部 {arms} 个结论里出现错误的机会不超过 5%。少于 3 个种子不下结论。",
    ),
    "how_stages": (
        "<b>Stages.</b> Seeds were added in stages ({stages}), as planned before the first run: an arm stops as soon as it is decided, "
        "or when its chance of a verdict at the last stage has fallen below {chance} if the difference is as it looks. "
        "{runs} of {every} runs were done. The levels of the stages are calibrated by simulation, so that all verdicts of all stages "
        "together are wrong in at most 5% of comparisons without a true difference.",
        "<b>分阶段。</b>种子按第一次运行之前定好的计划分阶段增加（{stages}）：某个方案一旦有了结论就停止；或者，若差值确如目前所见，"
        "它在最后阶段得出结论的机会已低于 {chance}，也停止。共完成 {every} 次运行中的 {runs} 次。各阶段的检验水平由模拟校准，"
        "使得在没有真实差别的比较中，所有阶段的全部结论里出现错误的机会不超过 5%。",
    ),
    "how_tuned": (
        "<b>Trials.</b> Before each run of every arm, the control included, {trials} trials vary the learning rate and, where the mechanism has "
        "gates or gammas, the factor of theirs, each by up to 10 times. A fifth of the training images, drawn by the seed, scores them; the "
        "validation images take no part. The search is done anew for each seed, so that its luck is part of the spread over seeds. Each of the "
        "two tables, untuned and tuned, keeps its 5%.",
        "<b>试验。</b>每个方案（包括对照）的每次运行之前，做 {trials} 次试验，改变学习率；机制带有门或 gamma 时也改变其系数，最多 10 倍。"
        "由种子抽出的五分之一训练图像用来打分，验证图像不参与。每个种子都重新搜索，因此搜索的运气也计入种子之间的离散。"
        "未调参与调参后的两张表各自保持 5%。",
    ),
    "how_intervals": (
        "<b>The intervals</b> of the differences are simultaneous: all of them together hold with 95%. Holm's method is a little sharper, "
        "so there can be a verdict where an interval just touches zero.",
        "<b>差值的区间</b>是联合区间：全部区间同时成立的把握为 95%。Holm 方法略为灵敏，因此区间刚好触到零时仍可能有结论。",
    ),
    "how_metric_mIoU": (
        "<b>mIoU</b>: for each class, the pixels where prediction and truth agree divided by those where either has it, counted over all "
        "validation images; then the mean over the {classes} classes.",
        "<b>mIoU</b>：对每个类别，用预测与真值一致的像素数除以两者任一标为该类的像素数，在全部验证图像上统计，再对 {classes} 个类别取平均。",
    ),
    "how_metric_accuracy": ("<b>Accuracy</b>: the fraction of validation images whose most probable class is the true one ({classes} classes).",
                            "<b>准确率</b>：概率最高的类别等于真实类别的验证图像所占比例（{classes} 个类别）。"),
    "how_metric_balanced_accuracy": (
        "<b>Balanced accuracy</b>: for each class, the fraction of its validation images that are recognised; then the mean over "
        "the classes that occur, so that a rare class counts as much as a frequent one ({classes} classes).",
        "<b>平衡准确率</b>：对每个类别，计算其验证图像中被正确识别的比例，再对出现的类别取平均，使少见类别与常见类别同样重要（{classes} 个类别）。",
    ),
    "how_metric_macro_f1": (
        "<b>Macro F1</b>: for each class, twice the images recognised divided by the images that have the class plus the images "
        "given it; then the mean over the classes that occur or are given ({classes} classes).",
        "<b>宏平均 F1</b>：对每个类别，用正确识别的图像数的两倍除以属于该类与被判为该类的图像数之和，再对出现或被预测的类别取平均（{classes} 个类别）。",
    ),
    "how_metric_mAP": (
        "<b>mAP</b>, mean average precision: for each class, the images are ranked by its probability, and the precision at each "
        "image that has the class is averaged; then the mean over the classes that occur ({classes} classes).",
        "<b>mAP</b>（mean average precision，平均精度均值）：对每个类别，按其概率给图像排序，在每张属于该类的图像处取查准率并求平均，"
        "再对出现的类别取平均（{classes} 个类别）。",
    ),
    "how_metric_mIoU_present": (
        "<b>mIoU of present classes</b>: for each class, the pixels where prediction and truth agree divided by those where either "
        "has it, counted over all validation images; then the mean over the classes that some validation image has, of {classes}.",
        "<b>出现类别的 mIoU</b>：对每个类别，用预测与真值一致的像素数除以两者任一标为该类的像素数，在全部验证图像上统计，"
        "再对验证图像中实际出现的类别（共 {classes} 个类别）取平均。",
    ),
    "how_training": (
        "<b>Training.</b> {steps} steps, batches of {batch}, images of {size} pixels, {train} training images.",
        "<b>训练。</b>{steps} 步，批大小 {batch}，图像 {size} 像素，{train} 张训练图像。",
    ),
    "how_costs": (
        "<b>Costs.</b> Parameters are exact. MACs (one multiply-add counts 1) are those of one input of {input}.",
        "<b>代价。</b>参数量为精确值。MACs（一次乘加计 1）针对一个 {input} 的输入。",
    ),
    "how_latency": (
        "Latency: median of rounds in which all arms take turns, batch {batch}, {threads}, measured after all training.",
        "延迟：各方案轮流运行的多轮测量的中位数，批大小 {batch}，{threads}，在全部训练结束后测得。",
    ),
    "one_thread": ("1 thread", "1 个线程"),
    "threads": ("{count} threads", "{count} 个线程"),
    "how_peak": ("Peak memory: the largest amount allocated during one training step, batch {batch}.", "峰值内存：一次训练步中占用的最大内存，批大小 {batch}。"),
    "how_train_time": ("Training time: mean over the runs of an arm; runs may have shared the machine.", "训练时间：一个方案各次运行的平均；运行之间可能共用机器。"),
    "repeat_heading": ("Repeat it", "重复实验"),
    "repeat_note": ("The same command again prints the finished table; in an empty folder it measures everything again. "
                    "Of absolute paths this page shows the last name only.",
                    "再次运行同一命令会打印已完成的表格；在空文件夹中则会重新测量。本页只显示绝对路径的最后一段。"),
    "further_heading": ("Next steps", "下一步"),
    "further_better": ("{arm} gained most. This command trains it fully, and resumes when it was interrupted:",
                       "{arm} 的增益最大。下面的命令对它进行完整训练，中断后可继续："),
    "further_reference": ("No mechanism was found better, so this command trains the network as it is ({arm}); add --mechanism to train it with one:",
                          "没有发现更好的机制，因此下面训练原来的网络（{arm}）；如需加入机制，请加上 --mechanism："),
    "further_load": ("This code loads the result in Python:", "下面的 Python 代码加载训练结果："),
    "copy": ("Copy", "复制"),
    "copied": ("Copied", "已复制"),
    "environment_heading": ("Environment", "环境"),
    "parameters": ("{count} parameters", "{count} 个参数"),
    "network": ("Network", "网络"),
    "data": ("Data", "数据"),
    "settings": ("All settings", "全部设置"),
    "colon": (": ", "："),
    "credits": ("Sources of the pictures", "图片来源"),
}  # fmt: skip

WORDS = Bilingual(TEXTS)
say, pair, both, attribute, known = WORDS.say, WORDS.pair, WORDS.both, WORDS.attribute, WORDS.known

__all__ = ["SPACE", "TEXTS", "WORDS", "attribute", "both", "breakable", "known", "pair", "say", "shown"]
