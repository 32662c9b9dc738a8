"""The networks that configs can name: the memorization study's MLP and its small Alexnet-style CNN."""

from dataclasses import dataclass
from typing import Literal

from mlrisk.config import setting
from mlrisk.models import alexnet_small, mlp
from mlrisk.types import Model


@dataclass(frozen=True)
class NetworkConfig:
    """A network by name with its few sizes."""

    name: Literal["mlp", "cnn"] = setting("mlp", "which network")
    hidden_sizes: tuple[int, ...] = setting((256, 256), "hidden units of the mlp", at_least=1)
    channels: tuple[int, ...] = setting((200, 200), "channels of the cnn's convolutions", at_least=1)
    dense: tuple[int, ...] = setting((384, 192), "units of the cnn's dense layers", at_least=1)
    crop: int = setting(2, "pixels that the cnn crops on each side", at_least=0)
    kernel: int = setting(5, "side of the cnn's kernels", at_least=1)
    padding: Literal["VALID", "SAME"] = setting("VALID", "padding of the cnn's convolutions (not stated in the paper)")
    pool_stride: int = setting(3, "stride of the cnn's 3 x 3 pools (not stated in the paper)", at_least=1)

    def describe(self) -> str:
        """The network in one phrase, such as ``mlp 256x256``."""
        return f"{self.name} " + "x".join(map(str, self.hidden_sizes if self.name == "mlp" else self.channels))


def make_network(config: NetworkConfig, shape: tuple[int, ...], num_classes: int) -> Model:
    """The model that a config names, for inputs of one shape.

    Raises:
        BadInput: the sizes do not fit the inputs.
    """
    if config.name == "mlp":
        return mlp(shape, config.hidden_sizes, num_classes)
    sizes = {"channels": config.channels, "dense": config.dense, "kernel": config.kernel, "crop": config.crop}
    return alexnet_small(shape, num_classes, **sizes, padding=config.padding, pool_stride=config.pool_stride)
