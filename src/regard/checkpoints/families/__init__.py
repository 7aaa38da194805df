"""The checkpoint families that Regard reads and writes, by the `model_type` of their config.json."""

from regard.checkpoints.families.bert import BERT
from regard.checkpoints.families.distilbert import DISTILBERT
from regard.checkpoints.families.family import Architecture, Description, Family, Key
from regard.checkpoints.families.roberta import ROBERTA
from regard.registry import Registry

FAMILIES: Registry[Family] = Registry("family")
for _family in (BERT, ROBERTA, DISTILBERT):
    FAMILIES.register(_family.name)(_family)

__all__ = ["FAMILIES", "Architecture", "Description", "Family", "Key"]
