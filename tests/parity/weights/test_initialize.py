"""Seeded initialisation: official rules, independence of the tensors, and the verb `init` with pretrained files."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from official_keys import KEYS, OPTIONS, R18, SMALL, KeysOnly, backbone, fill

from parity import cli
from parity.errors import UserError
from parity.framework import TensorInfo
from parity.weights import formats
from parity.weights.initialize import initialize

ARRAYS = initialize("rtdetr", R18, 0, OPTIONS)
SMALL_ARRAYS = initialize("rtdetr", SMALL, 0, OPTIONS)


def test_shapes_types_and_order():
    assert [(name, a.shape, a.dtype.name) for name, a in ARRAYS.items()] == [(t.name, t.shape, t.dtype) for t in R18]
    assert all(np.isfinite(array).all() for array in ARRAYS.values())


def test_same_seed_same_bits_other_seed_other_bits():
    again, other = initialize("rtdetr", R18, 0, OPTIONS), initialize("rtdetr", R18, 1, OPTIONS)
    assert formats.weights_sha256(again) == formats.weights_sha256(ARRAYS) != formats.weights_sha256(other)


def test_the_bits_stay_what_they_are():
    """Runs that are to be compared later need the weights of today."""
    assert formats.weights_sha256(SMALL_ARRAYS) == "d607a7d90062f8d02ffc0dd39349b7a0280c882d70efd9a4ae3dd1af2f2b2b92"


def test_a_tensor_does_not_depend_on_the_others():
    some = initialize(
        "rtdetr",
        [*[t for t in R18 if t.name.endswith("weight")][:30], TensorInfo("x.weight", (3, 3), "float32", "parameter")],
        0,
        OPTIONS,
    )
    shared = [name for name in some if name in ARRAYS]
    assert len(shared) == 30 and all(np.array_equal(some[name], ARRAYS[name]) for name in shared)


def uniform_within(array: np.ndarray, bound: float) -> bool:
    """Whether values fill [-bound, bound] evenly: the edge is reached, the deviation is bound/sqrt(3)."""
    largest, spread = np.abs(array).max(), array.std() * math.sqrt(3)
    return 0.98 * bound < largest <= bound * (1 + 1e-6) and abs(spread / bound - 1) < 0.03


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("backbone.res_layers.3.blocks.1.branch2b.conv.weight", 1 / math.sqrt(512 * 9)),
        ("encoder.input_proj.2.0.weight", 1 / math.sqrt(512)),
        ("encoder.encoder.0.layers.0.linear2.weight", 1 / math.sqrt(1024)),
        ("encoder.encoder.0.layers.0.self_attn.in_proj_weight", math.sqrt(6 / (768 + 256))),
        ("encoder.encoder.0.layers.0.self_attn.out_proj.weight", 1 / math.sqrt(256)),
        ("decoder.decoder.layers.0.linear1.bias", 1 / math.sqrt(256)),
        ("decoder.decoder.layers.0.cross_attn.value_proj.weight", math.sqrt(6 / 512)),
        ("decoder.enc_output.0.weight", math.sqrt(6 / 512)),
        ("decoder.query_pos_head.layers.1.weight", math.sqrt(6 / (512 + 256))),
        ("decoder.dec_score_head.1.weight", 1 / math.sqrt(256)),
        ("decoder.dec_bbox_head.0.layers.0.weight", 1 / math.sqrt(256)),
    ],
)
def test_uniform_rules(name, bound):
    assert uniform_within(ARRAYS[name], bound)


def test_constants():
    prior = np.float32(-math.log(0.99 / 0.01))
    assert (ARRAYS["decoder.enc_score_head.bias"] == prior).all()
    assert (ARRAYS["decoder.dec_score_head.2.bias"] == prior).all()
    zero = ("bbox_head.0.layers.2.weight", "enc_bbox_head.layers.2.bias", "attention_weights.weight", "in_proj_bias")
    zero += ("sampling_offsets.weight", "out_proj.bias", "value_proj.bias", "running_mean", "num_batches_tracked")
    for ending in zero:
        found = [array for name, array in ARRAYS.items() if name.endswith(ending)]
        assert found and not any(array.any() for array in found), ending
    norms = [array for name, array in ARRAYS.items() if ".norm" in name and name.endswith("weight")]
    assert len(norms) > 60 and all((array == 1).all() for array in norms)
    assert all((array == 1).all() for name, array in ARRAYS.items() if name.endswith("running_var"))


def test_denoising_embedding_is_normal_with_a_zero_padding_row():
    table = ARRAYS["decoder.denoising_class_embed.weight"]
    assert not table[80].any() and abs(table[:80].std() - 1) < 0.02 and abs(table[:80].mean()) < 0.02


def test_sampling_offsets_look_in_all_directions():
    bias = ARRAYS["decoder.decoder.layers.1.cross_attn.sampling_offsets.bias"].reshape(8, 3, 4, 2)
    eight = [[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]]
    for level in range(3):
        for point in range(4):
            np.testing.assert_allclose(bias[:, level, point], np.array(eight) * (point + 1), atol=1e-5)


def test_layers_that_are_copied_start_equal_and_others_do_not():
    layers = [{n.split(".", 4)[-1]: a for n, a in ARRAYS.items() if f"decoder.layers.{i}." in n} for i in range(3)]
    assert len(layers[0]) == 22
    assert all(np.array_equal(layers[0][name], layer[name]) for layer in layers for name in layer)
    first, second = (ARRAYS[f"decoder.dec_score_head.{i}.weight"] for i in range(2))
    assert not np.array_equal(first, second)


def test_a_learnt_query_is_known():
    extra = [TensorInfo("decoder.tgt_embed.weight", (300, 256), "float32", "parameter")]
    table = initialize("rtdetr", extra, 0, OPTIONS)["decoder.tgt_embed.weight"]
    assert uniform_within(table, math.sqrt(6 / 556))


def test_what_it_cannot_initialise():
    with pytest.raises(UserError, match="no initialisation rules"):
        initialize("yolo", R18, 0, OPTIONS)
    with pytest.raises(UserError, match="seed"):
        initialize("rtdetr", R18, -1, OPTIONS)
    with pytest.raises(ValueError, match="no initialisation rule"):
        initialize("rtdetr", [TensorInfo("scales.0.scale", (), "float32", "parameter")], 0, OPTIONS)


def test_rules_of_detr():
    """Xavier for the transformer's weights, drawn per layer; biases copied with the layer; torchvision's backbone."""
    keys = json.loads((Path(__file__).parents[2] / "golden/detr_r50/keys.json").read_text())["keys"]
    infos = [TensorInfo(name, tuple(shape), dtype, "parameter") for name, shape, dtype, _ in keys]
    values = initialize("detr", infos, 0, {})
    attention = "transformer.decoder.layers.3.multihead_attn"
    assert uniform_within(values[f"{attention}.in_proj_weight"], math.sqrt(6 / 1024))
    assert uniform_within(values[f"{attention}.out_proj.weight"], math.sqrt(6 / 512))
    assert uniform_within(values["transformer.encoder.layers.5.linear2.weight"], math.sqrt(6 / 2304))
    assert uniform_within(values["class_embed.weight"], 1 / 16)
    assert abs(values["query_embed.weight"].std() - 1) < 0.02
    conv = values["backbone.0.body.layer4.1.conv2.weight"]
    assert abs(conv.std() / math.sqrt(2 / (512 * 9)) - 1) < 0.01 and np.abs(conv).max() > 3 * conv.std()
    for part, layer in (("linear1.bias", 1), ("linear2.bias", 5)):
        first, other = (values[f"transformer.encoder.layers.{i}.{part}"] for i in (0, layer))
        assert np.array_equal(first, other) and first.any()
        assert not np.array_equal(first, values[f"transformer.decoder.layers.0.{part}"])
    first, other = (values[f"transformer.encoder.layers.{i}.linear1.weight"] for i in (0, 1))
    assert not np.array_equal(first, other)


# ---- the verb
def init(folder, *arguments) -> int:
    fixed = (
        "init",
        "--model",
        "rtdetr",
        "--variant",
        "r18vd",
        "--num-classes",
        "80",
        "--out",
        folder / "i.safetensors",
    )
    return cli.main(KeysOnly, [str(argument) for argument in (*fixed, *arguments)])


def report(folder) -> dict:
    return json.loads((folder / "i.safetensors.report.json").read_text())


def test_init_writes_weights_and_report(tmp_path):
    assert init(tmp_path, "--seed", 3) == 0
    back = formats.read(tmp_path / "i.safetensors")
    assert formats.weights_sha256(back) == formats.weights_sha256(initialize("rtdetr", SMALL, 3, OPTIONS))
    assert report(tmp_path)["weights_sha256"] == formats.weights_sha256(back)
    assert report(tmp_path)["seed"] == 3 and report(tmp_path)["pretrained"] is None


def test_init_with_a_backbone(tmp_path):
    formats.write(tmp_path / "b.pth", backbone("presnet18_vd"))
    digest = hashlib.sha256((tmp_path / "b.pth").read_bytes()).hexdigest()
    assert init(tmp_path, "--weights", tmp_path / "b.pth", "--sha256", digest, "--part", "backbone") == 0
    back = formats.read(tmp_path / "i.safetensors")
    assert all(np.array_equal(back["backbone." + name], a) for name, a in backbone("presnet18_vd").items())
    others = [name for name in SMALL_ARRAYS if not name.startswith("backbone.")]
    assert all(np.array_equal(back[name], SMALL_ARRAYS[name]) for name in others)
    assert report(tmp_path)["pretrained"]["taken"] == len(KEYS["presnet18_vd"])


def test_init_refuses_a_wrong_digest_and_a_missing_file(tmp_path, capsys):
    formats.write(tmp_path / "b.pth", backbone("presnet18_vd"))
    assert init(tmp_path, "--weights", tmp_path / "b.pth", "--sha256", "0" * 64) == 2
    assert init(tmp_path, "--weights", tmp_path / "none.pth") == 2
    assert capsys.readouterr().err.count("\n") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["b.pth"]


def test_class_heads_of_other_classes_start_anew_only_on_request(tmp_path, capsys):
    heads = ("decoder.enc_score_head", "decoder.dec_score_head", "decoder.denoising_class_embed")
    other = KeysOnly()
    other.build("rtdetr", {"num_classes": 6})
    formats.write(tmp_path / "six.pkl", fill(other.tensors()))
    assert init(tmp_path, "--weights", tmp_path / "six.pkl") == 2
    assert "--reset-classes" in capsys.readouterr().err
    assert init(tmp_path, "--weights", tmp_path / "six.pkl", "--reset-classes") == 0
    reset = report(tmp_path)["pretrained"]["reset_classes"]
    assert reset == [name for name in SMALL_ARRAYS if name.startswith(heads)]
    back, given = formats.read(tmp_path / "i.safetensors"), fill(other.tensors())
    for name, array in back.items():
        assert np.array_equal(array, SMALL_ARRAYS[name] if name in reset else given[name]), name


def test_rules_of_nanodet():
    """nanodet/model: ConvModule, both heads, ShuffleNetV2; the second neck is a copy of the first."""
    keys = json.loads((Path(__file__).parents[2] / "golden/nanodet-plus-m_320/keys.json").read_text())["keys"]
    infos = [TensorInfo(name, tuple(shape), dtype, "") for name, shape, dtype, _ in keys]
    values = initialize("nanodet", infos, 0, {})
    assert np.array_equal(values["head.distribution_project.project"], np.arange(8))
    assert (values["head.gfl_cls.2.bias"] == np.float32(-4.595)).all() and len(values["head.gfl_cls.2.bias"]) == 112
    assert (values["aux_head.gfl_cls.bias"] == np.float32(-4.595)).all() and not values["aux_head.gfl_reg.bias"].any()
    assert all(values[f"aux_head.scales.{level}.scale"] == 1 for level in range(4))
    deviations = {
        "backbone.stage2.1.branch2.0.weight": 1 / 58,
        "backbone.stage4.1.branch2.3.weight": 1.0,  # depthwise: one input channel
        "fpn.reduce_layers.1.conv.weight": (2 / 96) ** 0.5,
        "fpn.downsamples.0.depthwise.weight": (2 / (96 * 25)) ** 0.5,
        "head.cls_convs.3.0.pointwise.weight": 0.01,
        "aux_head.reg_convs.0.conv.weight": 0.01,
        "fpn.top_down_blocks.0.blocks.0.ghost1.primary_conv.0.weight": (1 / 192 / 3) ** 0.5,
    }
    for name, deviation in deviations.items():
        assert values[name].std() == pytest.approx(deviation, rel=0.1), name
    assert (values["backbone.stage3.2.branch2.1.bias"] == np.float32(1e-4)).all()
    assert not values["fpn.reduce_layers.0.bn.bias"].any() and (values["backbone.conv1.1.weight"] == 1).all()
    second = {name: value for name, value in values.items() if name.startswith("aux_fpn.")}
    assert second and all(np.array_equal(value, values[name[4:]]) for name, value in second.items())


def test_rules_of_gfocalv2():
    """mmdet's ResNet, FPN and GFocalHead: init_weights without a pretrained file."""
    keys = json.loads((Path(__file__).parents[2] / "golden/gfocalv2_r50_fpn/keys.json").read_text())["keys"]
    infos = [TensorInfo(name, tuple(shape), dtype, "") for name, shape, dtype, _ in keys]
    values = initialize("gfocalv2", infos, 0, {})
    assert np.array_equal(values["bbox_head.integral.project"], np.arange(17))
    assert np.allclose(values["bbox_head.gfl_cls.bias"], -np.log(99)) and len(values["bbox_head.gfl_cls.bias"]) == 81
    assert all(values[f"bbox_head.scales.{level}.scale"] == 1 for level in range(5))
    deviations = {
        "backbone.conv1.weight": (2 / (64 * 49)) ** 0.5,
        "backbone.layer3.1.conv2.weight": (2 / (256 * 9)) ** 0.5,
        "backbone.layer2.0.downsample.0.weight": (2 / 512) ** 0.5,
        "neck.fpn_convs.4.conv.weight": (2 / (512 * 9)) ** 0.5,
        "bbox_head.cls_convs.3.conv.weight": 0.01,
        "bbox_head.gfl_cls.weight": 0.01,
        "bbox_head.gfl_reg.weight": 0.01,
        "bbox_head.reg_conf.0.weight": 0.01,
    }
    for name, deviation in deviations.items():
        assert values[name].std() == pytest.approx(deviation, rel=0.05), name
    zero = ("neck.lateral_convs.0.conv.bias", "bbox_head.gfl_reg.bias", "bbox_head.reg_conf.2.bias")
    assert not any(values[name].any() for name in (*zero, "backbone.layer4.2.bn3.weight"))
    assert (values["backbone.layer4.2.bn2.weight"] == 1).all() and (values["backbone.bn1.weight"] == 1).all()
    basic = [TensorInfo(f"backbone.layer1.0.bn{i}.weight", (8,), "float32", "") for i in (1, 2)]
    values = initialize("gfocalv2", basic, 0, {})
    assert values["backbone.layer1.0.bn1.weight"].all() and not values["backbone.layer1.0.bn2.weight"].any()
