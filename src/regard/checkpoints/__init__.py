"""Other people's files and ours (floor 3): tensors, model folders, the hub, and folders that survive any crash."""

from regard.checkpoints.converter import Converted, convert
from regard.checkpoints.export import export_hf
from regard.checkpoints.folder import load, locate, save_model
from regard.checkpoints.loaded import Loaded, Origin
from regard.checkpoints.manifest import atomic_folder, latest, verify
from regard.checkpoints.presets import PRESETS, preset
from regard.checkpoints.tensors import read_safetensors, write_safetensors

__all__ = [
    "PRESETS",
    "Converted",
    "Loaded",
    "Origin",
    "atomic_folder",
    "convert",
    "export_hf",
    "latest",
    "load",
    "locate",
    "preset",
    "read_safetensors",
    "save_model",
    "verify",
    "write_safetensors",
]
