"""The families that read sound and images, against transformers: :func:`check_family` over tiny random models of every
class."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from tests.parity.reference import random_model
from torch import Tensor

from regard.checkpoints import export_hf, load
from regard.checkpoints.contract import check_family, check_laws, check_round_trip
from regard.checkpoints.families import FAMILIES, Architecture, Key
from regard.checkpoints.families.family import REQUIRED, part
from regard.checkpoints.reference import hidden_sites, reference
from regard.checkpoints.tensors import read_weights, write_safetensors
from regard.errors import CheckpointError, ConfigError
from regard.models.build import filled

WHISPER = {
    "vocab_size": 20,
    "d_model": 8,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "num_mel_bins": 5,
    "max_source_positions": 6,
    "max_target_positions": 9,
    "classifier_proj_size": 7,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 3,
}
WAVE = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 11,
    "conv_dim": (6, 4, 5),
    "conv_kernel": (10, 3, 2),
    "conv_stride": (5, 2, 2),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 7,
    "codevector_dim": 4,
    "proj_codevector_dim": 4,
    "num_codevectors_per_group": 6,
    "tdnn_dim": (6, 5),
    "tdnn_kernel": (2, 1),
    "tdnn_dilation": (1, 1),
    "xvector_output_dim": 3,
}
STABLE = {**WAVE, "do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
IMAGE = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 8,
    "patch_size": 4,
    "encoder_stride": 4,
}
ODD_IMAGE = {**IMAGE, "image_size": 13, "patch_size": 5, "num_channels": 1, "num_attention_heads": 1, "num_hidden_layers": 1}
TEXT = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 20,
    "max_position_embeddings": 11,
    "eos_token_id": 19,
    "projection_dim": 6,
}
ODD_TEXT = {**TEXT, "hidden_size": 12, "num_attention_heads": 1, "hidden_act": "gelu", "projection_dim": 16}
OLD_TEXT = {**TEXT, "eos_token_id": 2, "num_hidden_layers": 3, "layer_norm_eps": 1e-3}
"""The end of a text is where its largest id is: so read checkpoints from before 2023, whose config.json names another id."""
VISION = {**IMAGE, "projection_dim": 6}
PAIR = {"text_config": TEXT, "vision_config": VISION, "projection_dim": 6, "logit_scale_init_value": 1.0}

CONFIGS: Mapping[str, list[dict[str, Any]]] = {
    "whisper": [
        WHISPER,
        {
            **WHISPER,
            "encoder_layers": 1,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 12,
            "dropout": 0.1,
            "activation_function": "relu",
            "num_mel_bins": 1,
            "max_source_positions": 4,
        },
        {**WHISPER, "encoder_attention_heads": 1, "decoder_layers": 1, "tie_word_embeddings": False},
    ],
    "wav2vec2": [
        WAVE,
        STABLE,
        {**STABLE, "do_stable_layer_norm": False, "num_attention_heads": 1, "feat_extract_activation": "relu"},
        {
            **WAVE,
            "do_stable_layer_norm": True,
            "conv_bias": True,
            "num_conv_pos_embeddings": 7,
            "hidden_act": "gelu_new",
            "layer_norm_eps": 1e-3,
        },
    ],
    "vit": [
        IMAGE,
        {**ODD_IMAGE, "pooler_output_size": 5, "pooler_act": "relu", "encoder_stride": 5},
        {**IMAGE, "qkv_bias": False, "hidden_act": "gelu_new", "layer_norm_eps": 1e-5, "hidden_dropout_prob": 0.1},
        {**IMAGE, "image_size": [8, 8], "patch_size": [2, 2], "encoder_stride": 2},
    ],
    "clip": [
        PAIR,
        {
            "text_config": ODD_TEXT,
            "vision_config": {**ODD_IMAGE, "hidden_size": 6, "hidden_act": "gelu"},
            "projection_dim": 3,
            "logit_scale_init_value": 1.5,
        },
        {"text_config": OLD_TEXT, "vision_config": {**VISION, "intermediate_size": 8, "layer_norm_eps": 1e-4}},
    ],
    "clip_text_model": [TEXT, ODD_TEXT, OLD_TEXT],
    "clip_vision_model": [VISION, {**ODD_IMAGE, "projection_dim": 3}, {**VISION, "hidden_act": "gelu", "patch_size": 2}],
}
"""At least three odd ones a family: one head, no or other biases, tied and untied, other activations, sizes, places of
norms."""
CONFIGS = {**CONFIGS, "hubert": [*CONFIGS["wav2vec2"], {**WAVE, "feat_proj_layer_norm": False}], "deit": CONFIGS["vit"]}

CASES = [
    (family, architecture, number)
    for family, configs in CONFIGS.items()
    for architecture in FAMILIES[family].architectures
    for number in range(len(configs))
]
Sites = Callable[[Any], dict[str, Tensor]]


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def texts(end: int = 19) -> dict[str, Tensor]:
    """Rows of different lengths, each with the end mark as its last token, as CLIP's tokenizer makes them."""
    ids = torch.randint(3, end, (3, 9), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([9, 2, 5])
    ids[torch.arange(3), lengths - 1] = end
    mask = (torch.arange(9) < lengths[:, None]).long()
    return {"inputs": ids * mask, "attention_mask": mask}


def images(config: Any, rows: int = 2) -> Tensor:
    sides = (config.image_size,) * 2 if isinstance(config.image_size, int) else config.image_size
    return noise(rows, config.num_channels, *sides)


def given(model: Any) -> dict[str, Tensor]:
    """What a model reads. Whisper wants exactly as many frames as it has positions for; padded sound needs models whose
    convolutions are normalised over channels, in the others transformers takes padding for sound."""
    config = model.config
    match config.model_type:
        case "whisper":
            features = {"inputs": noise(2, config.num_mel_bins, 2 * config.max_source_positions)}
            if "Audio" in type(model).__name__:
                return features
            return {**features, "decoder_ids": torch.randint(4, 20, (2, 7), generator=torch.Generator().manual_seed(2))}
        case "wav2vec2" | "hubert":
            mask = (torch.arange(240) < torch.tensor([240, 80, 151])[:, None]).long()
            return {"inputs": noise(3, 240), **({"attention_mask": mask} if config.feat_extract_norm == "layer" else {})}
        case "clip":
            return {**texts(), "images": images(config.vision_config, rows=4)}
        case "clip_text_model":
            return texts()
    return {"inputs": images(config)}


def sites_of(model: Any) -> Sites | None:
    """Where our hidden states are in their output; None = in the usual places."""
    match model.config.model_type:
        case "clip":
            return lambda found: (
                hidden_sites("encoder", found.text_model_output.hidden_states, last="layer")
                | {"encoder": found.text_model_output.last_hidden_state}
                | hidden_sites("vision", found.vision_model_output.hidden_states, last="layer")
            )
        case "clip_vision_model":  # its norm is only for what is pooled
            return lambda found: hidden_sites("encoder", found.hidden_states, last="layer")
        case "whisper":
            return None
    return normed


def normed(found: Any) -> dict[str, Tensor]:
    """Hidden states whose last one is the last layer's; what is behind the norm, where their class gives it."""
    whole = found.get("last_hidden_state")
    return hidden_sites("encoder", found.hidden_states, last="layer") | ({} if whole is None else {"encoder": whole})


@pytest.mark.parametrize(("family", "architecture", "number"), CASES)
def test_the_family_keeps_its_contract(family: str, architecture: str, number: int, tmp_path: Path):
    table = FAMILIES[family].architectures[architecture]
    model = random_model(architecture, num_labels=3, **CONFIGS[family][number])
    head = table.fields is not None
    theirs = reference(model, given(model), head=head, sites=sites_of(model))
    assert (theirs.answer(theirs.batch).output is not None) == head
    loaded = check_family(theirs, tmp_path)
    assert (None if loaded.task is None else loaded.task["task"]) == table.task


# ---- what a config.json may say, and may leave out ---------------------------------------------------------------------


def saved(architecture: str, folder: Path, **config: Any) -> Path:
    """The folder of a tiny random model."""
    random_model(architecture, **config).save_pretrained(folder)
    return folder


def change(folder: Path, **values: Any) -> None:
    """Set keys of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **values}), encoding="utf-8")


def without(config: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The same without the key at a dotted path."""
    result = copy.deepcopy(dict(config))
    *above, last = path.split(".")
    inner = result
    for name in above:
        inner = inner[name]
    del inner[last]
    return result


KEYS = [
    pytest.param(name, architecture, theirs, getattr(key, "default", None) is REQUIRED, id=f"{architecture.name}-{theirs}")
    for name in CONFIGS
    for architecture in FAMILIES[name].architectures.values()
    for key in (*FAMILIES[name].keys, *architecture.keys)
    for theirs in dict.fromkeys([key.theirs] if isinstance(key, Key) else key.names.values())
]
"""Every model class, every key of config.json that its table reads, and whether it must be there."""


@pytest.mark.parametrize(("name", "table", "key", "required"), KEYS)
def test_an_absent_key_means_what_it_means_to_transformers(name: str, table: Architecture, key: str, required: bool):
    family = FAMILIES[name]
    whole = json.loads(transformers.AutoConfig.for_model(name).to_json_string(use_diff=False))
    n_outputs = None if table.fields is None else 0 if table.task in (None, "zero-shot-image-classification") else 2

    def described(theirs: Mapping[str, Any]) -> tuple[Any, ...]:
        config, head, task = family.read(theirs, table, n_outputs, where="config.json")
        return config, head, head and (head.d_dense or config.d_model), task

    assert part(whole, key) is not None
    if required:
        with pytest.raises(ConfigError, match=f"missing key '{key}'"):
            described(without(whole, key))
    elif key == "pooler_output_size":  # absent, it follows another key
        assert described(without(whole, key))[2:] == described(whole)[2:]
    else:
        assert described(without(whole, key)) == described(whole)


@pytest.mark.parametrize(
    ("architecture", "config", "changes", "says"),
    [
        ("Wav2Vec2ForCTC", WAVE, {"add_adapter": True}, "key 'add_adapter' is True"),
        ("Wav2Vec2ForCTC", STABLE, {"adapter_attn_dim": 16}, "key 'adapter_attn_dim' is 16"),
        ("HubertForCTC", WAVE, {"conv_pos_batch_norm": True}, "key 'conv_pos_batch_norm' is True"),
        ("HubertForSequenceClassification", WAVE, {"use_weighted_layer_sum": True}, "key 'use_weighted_layer_sum' is True"),
        ("Wav2Vec2Model", WAVE, {"do_stable_layer_norm": "yes"}, "key 'do_stable_layer_norm' is 'yes'"),
        ("Wav2Vec2Model", WAVE, {"feat_extract_norm": "batch"}, "key 'feat_extract_norm' is 'batch'"),
        ("Wav2Vec2Model", WAVE, {"conv_stride": [5, 2]}, "conv_dim, conv_kernel and conv_stride must be equally many"),
        ("Wav2Vec2ForCTC", WAVE, {"vocab_size": 12}, r"tensor 'lm_head.weight': shape \(11, 8\)\n  allowed: \(12, 8\)"),
        (
            "CLIPModel",
            PAIR,
            {"vision_config": {**VISION, "num_attention_heads": 3}},
            "vision_config.num_attention_heads=3 does not divide vision_config.hidden_size=8: ",
        ),
        ("WhisperModel", WHISPER, {"decoder_attention_heads": 3}, "decoder_attention_heads=3 does not divide d_model=8"),
        ("ViTModel", IMAGE, {"image_size": [8, 12]}, r"only squares are read, not \[8, 12\]"),
        ("ViTModel", IMAGE, {"patch_size": 9}, "patch_size=9 must not exceed image_size=8"),
        (
            "CLIPModel",
            PAIR,
            {"vision_config": {**VISION, "image_size": "8"}},
            "'vision_config.image_size' is '8'",
        ),
        (
            "CLIPModel",
            PAIR,
            {"text_config": {**TEXT, "hidden_act": "mish"}},
            "'text_config.hidden_act' is 'mish'",
        ),
    ],
)
def test_what_regard_does_not_have_is_named(
    architecture: str, config: dict[str, Any], changes: dict[str, Any], says: str, tmp_path: Path
):
    change(saved(architecture, tmp_path, **config), **changes)
    with pytest.raises((ConfigError, CheckpointError), match=says):
        load(tmp_path)


def test_a_new_alphabet_changes_the_size_that_config_states(tmp_path: Path):
    loaded = load(saved("Wav2Vec2ForCTC", tmp_path / "old", **WAVE))
    assert loaded.head is not None
    head = loaded.head.model_copy(update={"n_outputs": 5})
    tensors = {**loaded.tensors, "head.out.weight": torch.zeros(5, 8), "head.out.bias": torch.zeros(5)}
    export_hf(replace(loaded, head=head, tensors=tensors), tmp_path / "new")
    before, after = (json.loads((tmp_path / name / "config.json").read_bytes()) for name in ("old", "new"))
    assert after == {**before, "vocab_size": 5}
    assert transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path / "new").lm_head.out_features == 5


# ---- what files hold -----------------------------------------------------------------------------------------------------


def test_the_names_that_older_versions_gave_a_normalised_weight(tmp_path: Path):
    saved("HubertModel", tmp_path, **WAVE)
    expected = load(tmp_path).tensors
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    renamed = {name: tensor.clone() for name, tensor in read_weights(tmp_path).items()}
    for new, older in old.items():
        renamed = {name.replace(new, older): tensor for name, tensor in renamed.items()}
    assert any(name.endswith("weight_g") for name in renamed)
    write_safetensors(tmp_path / "model.safetensors", renamed)
    found = load(tmp_path).tensors
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("architecture", "prefix", "config"),
    [("CLIPTextModel", "text_model.", TEXT), ("CLIPVisionModel", "vision_model.", VISION), ("ViTModel", "vit.", IMAGE)],
)
def test_a_prefix_that_the_class_has_not_stays(architecture: str, prefix: str, config: dict[str, Any], tmp_path: Path):
    """Half of CLIP is saved with one by older versions, and they can read it in no other way."""
    saved(architecture, tmp_path, **config)
    write_safetensors(
        tmp_path / "model.safetensors", {prefix + name: tensor.clone() for name, tensor in read_weights(tmp_path).items()}
    )
    export_hf(load(tmp_path), tmp_path / "out")
    check_round_trip(tmp_path, tmp_path / "out")


def test_buffers_of_older_versions_are_skipped(tmp_path: Path):
    saved("CLIPModel", tmp_path, **PAIR)
    tensors = {name: tensor.clone() for name, tensor in read_weights(tmp_path).items()}
    buffers = {
        "text_model.embeddings.position_ids": torch.arange(11)[None],
        "vision_model.embeddings.position_ids": torch.arange(5)[None],
    }
    write_safetensors(tmp_path / "model.safetensors", {**tensors, **buffers})
    export_hf(load(tmp_path), tmp_path / "out")
    assert read_weights(tmp_path / "out").keys() == tensors.keys()


SOUND = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 8000, "do_normalize": False}
PICTURE = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 8}}


@pytest.mark.parametrize(
    ("architecture", "config", "files", "features"),
    [
        ("Wav2Vec2ForCTC", WAVE, {"preprocessor_config.json": SOUND}, SOUND),
        ("HubertForCTC", WAVE, {"processor_config.json": {"feature_extractor": SOUND, "processor_class": "X"}}, SOUND),
        ("CLIPModel", PAIR, {"processor_config.json": {"image_processor": PICTURE}}, PICTURE),
        ("ViTForImageClassification", IMAGE, {"preprocessor_config.json": PICTURE}, PICTURE),
        ("DeiTForImageClassification", IMAGE, {"processor_config.json": {"image_processor": "lost"}}, None),
        ("WhisperForConditionalGeneration", WHISPER, {"generation_config.json": {"suppress_tokens": [1]}}, None),
    ],
)
def test_what_says_how_to_read_and_write_travels_along(
    architecture: str, config: dict[str, Any], files: dict[str, Any], features: Any, tmp_path: Path
):
    saved(architecture, tmp_path, **config)
    for name, values in files.items():
        (tmp_path / name).write_text(json.dumps(values), encoding="utf-8")
    loaded = load(tmp_path)
    assert loaded.task is not None
    assert loaded.task.get("features") == features
    if "generation_config.json" in files:
        assert loaded.task["generation"]["suppress_tokens"] == [1]
    export_hf(loaded, tmp_path / "out")
    for name, values in files.items():
        assert json.loads((tmp_path / "out" / name).read_bytes()) == values


# ---- law 2 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(CONFIGS["wav2vec2"])))
@drawn(data=st.data())
@settings(deadline=None, max_examples=8)
def test_a_recording_does_not_depend_on_its_batch(number: int, data: st.DataObject, tmp_path_factory: Any):
    """Also where the reference lets it: it normalises padding along with the sound in half of these models."""
    lengths = data.draw(st.lists(st.integers(30, 300), min_size=1, max_size=4))
    longest = max(lengths) + data.draw(st.integers(0, 90))
    folder = saved("Wav2Vec2ForCTC", tmp_path_factory.mktemp("wave"), **CONFIGS["wav2vec2"][number])
    loaded = load(folder)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    batch = {"inputs": noise(len(lengths), longest), "attention_mask": mask}
    with torch.inference_mode():
        check_laws(filled(loaded.config, loaded.head, loaded.tensors), batch, tolerance=5e-5)
