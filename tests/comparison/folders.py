"""Folders of ordinary pictures, cut from what scikit-image ships: what a user's data look like, but small."""

import numpy as np
import skimage.data
from PIL import Image

TEXTURES = ("brick", "grass", "gravel")


def classification(folder, count=10, side=48, seed=0):
    """``CLASS/*.jpg``: patches of three textures, easy to tell apart."""
    for name in TEXTURES:
        (folder / name).mkdir(parents=True)
        picture = getattr(skimage.data, name)()
        rng = np.random.default_rng(len(name) + 100 * seed)
        for number in range(count):
            y, x = rng.integers(0, picture.shape[0] - side, 2)
            Image.fromarray(picture[y : y + side, x : x + side]).save(folder / name / f"{number}.jpg")
    return folder


def segmentation(folder, count=10, side=64, seed=1):
    """``images/*.jpg`` and ``masks/*.png``: a coin-like disc on a texture; class 0 is the texture."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    back, front = skimage.data.grass(), skimage.data.coffee()
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    for number in range(count):
        y, x = rng.integers(0, back.shape[0] - side, 2)
        picture = np.repeat(back[y : y + side, x : x + side, None], 3, axis=2)
        centre = rng.integers(side // 4, 3 * side // 4, 2)
        disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < (side // 5) ** 2
        picture[disc] = front[100 : 100 + side, 100 : 100 + side][disc]
        Image.fromarray(picture).save(folder / "images" / f"{number}.jpg")
        Image.fromarray(disc.astype(np.uint8)).save(folder / "masks" / f"{number}.png")
    return folder
