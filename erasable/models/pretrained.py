"""A frozen encoder that somebody else has trained: loaded through transformers, from a local folder or its cache.

Nothing is downloaded, and nothing in it can be trained: its weights are buffers, so that no optimiser, alone or in a
population, finds a parameter. An encoder that was fitted on data nobody here can ask to erase adds no exposure.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from erasable._plumbing.seeds import seeded
from erasable.errors import InvalidData, MissingExtra, MissingFile, SettingsError


class Pretrained(nn.Module):
    """(batch, 1 or 3, height, width) in [-1, 1] -> (batch, width): CLS of a transformer, the mean over positions of a
    convolutional network.

    path    a folder with config.json, model.safetensors and preprocessor_config.json, or a name that is in the cache of
            Hugging Face
    size    pictures are resized to size x size; 0 for the size that the encoder was trained at

    Raises MissingExtra, MissingFile, InvalidData (weights that do not belong to the configuration), SettingsError.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: Sequence[int], *, path: str, size: int = 0) -> None:
        super().__init__()
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise SettingsError(f"inputs of the shape {tuple(shape)} for the pretrained encoder '{path}'",
                                expected="pictures with 1 or 3 channels", do="choose another encoder")  # fmt: skip
        network, scaling = _load(path)
        self.size = size or int(getattr(network.config, "image_size", 0) or 0)
        if self.size < 1:
            raise SettingsError(f"the pretrained encoder '{path}' tells no picture size", expected="size=PIXELS",
                                do=f"write 'pretrained path={path} size=224'")  # fmt: skip
        self.network = _frozen(network)
        for name, key in (("mean", "image_mean"), ("std", "image_std")):
            self.register_buffer(name, torch.tensor(scaling[key], dtype=torch.float32).view(1, -1, 1, 1))
        with torch.no_grad():
            self.width = self(torch.zeros(1, *shape)).shape[1]

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.interpolate(x, (self.size, self.size), mode="bilinear", align_corners=False, antialias=True)
        x = ((x + 1) / 2).expand(-1, 3, -1, -1)
        out: Tensor = self.network(pixel_values=(x - self.mean) / self.std).last_hidden_state
        return out[:, 0] if out.ndim == 3 else out.mean(dim=(2, 3))

    def train(self, mode: bool = True) -> "Pretrained":
        """Stays in eval mode: dropout and running statistics are frozen as well."""
        return super().train(False)


def _load(path: str) -> tuple[Any, dict[str, Any]]:
    """The network, and the mean and deviation of the pictures that it was trained on."""
    try:
        import transformers
    except ImportError:
        raise MissingExtra("a pretrained encoder needs the package transformers, which is not installed",
                           expected="the extra [hf]", do="pip install 'erasable[hf]'") from None  # fmt: skip
    try:
        with seeded(0, "pretrained"):  # a pooler without stored weights is drawn; it is not read, but it is hashed
            network, report = transformers.AutoModel.from_pretrained(path, local_files_only=True, use_safetensors=True,
                                                                     output_loading_info=True)  # fmt: skip
        file = transformers.utils.cached_file(path, "preprocessor_config.json", local_files_only=True)
    except OSError as error:
        raise MissingFile(f"no pretrained encoder at '{path}' ({str(error).splitlines()[0]})",
                          expected="config.json, model.safetensors and preprocessor_config.json",
                          do="name a folder that holds them, or a model that is in the cache") from None  # fmt: skip
    if missing := sorted(each for each in report["missing_keys"] if "pooler" not in each):
        raise InvalidData(f"{len(missing)} weights of '{path}' are missing, first '{missing[0]}'",
                          expected="an encoder with all its weights", do="name a complete folder")  # fmt: skip
    scaling = json.loads(Path(file).read_text())
    for key in ("image_mean", "image_std"):
        if len(scaling.get(key) or ()) != 3:
            raise InvalidData(f"preprocessor_config.json of '{path}' has no {key}", expected="three numbers",
                              do="add what the encoder was trained with")  # fmt: skip
    return network, scaling


def _frozen(network: nn.Module) -> nn.Module:
    """The network with every parameter turned into a buffer of the same name."""
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                del module._parameters[name]
                module.register_buffer(name, parameter.detach().clone())
    return network.eval()
