"""What the tests of mappings share."""

from kernels import LayerRepository, register_kernel_mapping
from kernels.layer import _KERNEL_MAPPING


def silu(repo="kernels-community/activation", **options):
    return LayerRepository(repo, layer_name="SiluAndMul", **options)


def seen():
    """{layer: {device: {mode: repository}}} as it counts here, of what serves every capability."""
    mapping = _KERNEL_MAPPING.get()
    return {layer: {device: repos.repos for device, repos in devices.items()} for layer, devices in mapping.items()}


def repositories(layer="L", device="cuda"):
    """The ids of what serves a layer here, by mode."""
    return {mode: repo._repo_id for mode, repo in seen().get(layer, {}).get(device, {}).items()}


def forget():
    """Leaves nothing registered for the process."""
    register_kernel_mapping({}, inherit_mapping=False)


class Own:
    """A repository that loads by itself."""

    def __init__(self, layer_name="L", layer=None, text="my own"):
        self.layer_name, self._layer, self._text = layer_name, layer, text

    def load(self):
        assert self._layer is not None, "nothing is to be loaded here"
        return self._layer

    def __str__(self):
        return self._text
