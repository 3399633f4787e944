"""Networks of other programs, evaluated from the names of their weights alone: no module of ours takes part.

Each family has the shapes of its weights by name, and its formula in float64.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Shapes = dict[str, tuple[int, ...]]
Weights = Mapping[str, Tensor]


def weights_of(shapes: Shapes) -> dict[str, Tensor]:
    """Weights (float32) by a formula of name and index, of a size that keeps the signal alive."""
    weights = {}
    for name, shape in shapes.items():
        index = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)
        wave = torch.sin(12.9898 * index + zlib.crc32(name.encode()) % 1000).reshape(shape)
        if name.endswith("resample_filter"):
            value = torch.full(shape, 0.25, dtype=torch.float64)
        elif name.endswith("timembedding.0.weight"):
            value = ddpm_table(*shape)
        elif name.endswith("bias"):
            value = 0.1 * wave
        elif len(shape) == 1:  # of a norm
            value = 1 + 0.2 * wave
        else:
            value = 1.4 * wave / math.sqrt(math.prod(shape[1:]))
        weights[name] = value.float()
    return weights


def conv(weights: Weights, name: str, x: Tensor, padding: str = "zeros", stride: int = 1) -> Tensor:
    kernel = weights[f"{name}.weight"].double()
    side = kernel.shape[-1] // 2
    x = functional.pad(x, (side,) * 4, mode="circular" if padding == "circular" else "constant")
    return functional.conv2d(x, kernel, weights[f"{name}.bias"].double(), stride=stride)


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].double().T + weights[f"{name}.bias"].double()


def normed(weights: Weights, name: str, x: Tensor, groups: int, eps: float) -> Tensor:
    grouped = x.reshape(len(x), groups, -1)
    mean = grouped.mean(2, keepdim=True)
    variance = (grouped - mean).square().mean(2, keepdim=True)
    flat = ((grouped - mean) / (variance + eps).sqrt()).reshape(x.shape)
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return flat * weights[f"{name}.weight"].double().reshape(shape) + weights[f"{name}.bias"].double().reshape(shape)


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Values (B, C, P) mixed by softmax over positions."""
    logits = torch.einsum("bcp,bcq->bpq", query, key) / math.sqrt(query.shape[1])
    return torch.einsum("bpq,bcq->bcp", logits.softmax(2), value)


def waves(t: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of t 10000^(-i / (width / 2 - 1))."""
    half = width // 2
    angles = torch.stack([t / 10000 ** (i / (half - 1)) for i in range(half)], dim=1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


# The released code of Kamb & Ganguli 2025.


def linear_shapes(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def conv_shapes(name: str, inputs: int, outputs: int, side: int = 3) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}


def norm_shapes(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def resnet_shapes(channels: int, width: int, blocks: int, classes: int = 0) -> Shapes:
    shapes = {"embedding.class_embeddings.weight": (classes, width)} if classes else {}
    shapes |= conv_shapes("up_projection", channels, width)
    for number in range(blocks + 1):
        shapes |= linear_shapes(f"embs.{number}.0", width, width) | norm_shapes(f"embs.{number}.1", width)
    for number in range(blocks):
        shapes |= conv_shapes(f"convs.{number}.0", width, width)
    return shapes | conv_shapes("down_projection", width, channels)


def embedded(weights: Weights, t: Tensor, width: int, labels: Tensor | None) -> Tensor:
    embedding = waves(t, width)
    return embedding if labels is None else embedding + weights["embedding.class_embeddings.weight"].double()[labels]


def resnet(weights: Weights, x: Tensor, t: Tensor, labels: Tensor | None = None, padding: str = "zeros") -> Tensor:
    width = len(weights["up_projection.weight"])
    embedding = embedded(weights, t, width, labels)

    def shift(number: int) -> Tensor:
        projected = linear(weights, f"embs.{number}.0", embedding)
        return normed(weights, f"embs.{number}.1", projected, 8, 1e-5).relu()[:, :, None, None]

    state, number = conv(weights, "up_projection", x, padding), 0
    while f"convs.{number}.0.weight" in weights:
        state = state + conv(weights, f"convs.{number}.0", state + shift(number), padding).relu()
        number += 1
    return conv(weights, "down_projection", state + shift(number), padding)


def unet_shapes(channels: int, widths: Sequence[int], classes: int = 0, embedding: int = 256) -> Shapes:
    def pair(name: str, inputs: int, outputs: int) -> Shapes:
        return {
            **linear_shapes(f"{name}.emb.1", embedding, inputs),
            **conv_shapes(f"{name}.model.0", inputs, outputs),
            **conv_shapes(f"{name}.model.2", outputs, outputs),
        }

    shapes: Shapes = {"embedding.class_embeddings.weight": (classes, embedding)} if classes else {}
    size = channels
    for level, width in enumerate(widths[:-1]):
        shapes |= pair(f"feature_blocks.{level}", size, width)
        size = width
    shapes |= pair("bottleneck", size, widths[-1])
    for number, (below, above) in enumerate(zip(widths[:0:-1], widths[-2::-1], strict=True)):
        shapes |= {f"upsamples.{number}.weight": (below, above, 2, 2), f"upsamples.{number}.bias": (above,)}
        shapes |= pair(f"output_blocks.{number}", 2 * above, above)
    return shapes | linear_shapes("last_emb.1", embedding, widths[0]) | conv_shapes("output_conv", widths[0], channels)


def unet(weights: Weights, x: Tensor, t: Tensor, labels: Tensor | None = None, padding: str = "zeros") -> Tensor:
    embedding = embedded(weights, t, weights["last_emb.1.weight"].shape[1], labels)

    def pair(name: str, state: Tensor) -> Tensor:
        state = state + linear(weights, f"{name}.emb.1", embedding.relu())[:, :, None, None]
        state = conv(weights, f"{name}.model.0", state, padding).relu()
        return conv(weights, f"{name}.model.2", state, padding).relu()

    state, skips, level = x, [], 0
    while f"feature_blocks.{level}.emb.1.weight" in weights:
        state = pair(f"feature_blocks.{level}", state)
        skips.append(state)
        batch, size, height, width = state.shape
        state = state.reshape(batch, size, height // 2, 2, width // 2, 2).amax((3, 5))
        level += 1
    state = pair("bottleneck", state)
    for number, skip in enumerate(skips[::-1]):
        kernel, bias = (weights[f"upsamples.{number}.{kind}"].double() for kind in ("weight", "bias"))
        larger = torch.einsum("bchw,cdij->bdhiwj", state, kernel)
        larger = larger.reshape(len(x), kernel.shape[1], 2 * state.shape[2], 2 * state.shape[3])
        state = pair(f"output_blocks.{number}", torch.cat([skip, larger + bias[:, None, None]], dim=1))
    state = state + linear(weights, "last_emb.1", embedding.relu())[:, :, None, None]
    return conv(weights, "output_conv", state, padding)


# EDM's DDPM++: the raw network, and its preconditioning.


def edm_shapes(
    side: int,
    channels: int,
    base: int,
    multipliers: Sequence[int],
    blocks: int,
    attention: Sequence[int] = (),
    classes: int = 0,
    augment: int = 0,
) -> Shapes:
    """By the names of `EDMPrecond.state_dict()`; `attention` holds sides."""
    width = 4 * base

    def block(name: str, inputs: int, outputs: int, resample: bool = False, attends: bool = False) -> Shapes:
        shapes = norm_shapes(f"{name}.norm0", inputs) | conv_shapes(f"{name}.conv0", inputs, outputs)
        shapes |= linear_shapes(f"{name}.affine", width, outputs) | norm_shapes(f"{name}.norm1", outputs)
        shapes |= conv_shapes(f"{name}.conv1", outputs, outputs)
        if resample or inputs != outputs:
            shapes |= conv_shapes(f"{name}.skip", inputs, outputs, 1)
        if resample:
            shapes |= {f"{name}.{layer}.resample_filter": (1, 1, 2, 2) for layer in ("conv0", "skip")}
        if attends:
            shapes |= norm_shapes(f"{name}.norm2", outputs) | conv_shapes(f"{name}.qkv", outputs, 3 * outputs, 1)
            shapes |= conv_shapes(f"{name}.proj", outputs, outputs, 1)
        return shapes

    shapes = linear_shapes("map_layer0", base, width) | linear_shapes("map_layer1", width, width)
    shapes |= linear_shapes("map_label", classes, base) if classes else {}
    shapes |= {"map_augment.weight": (base, augment)} if augment else {}
    shapes |= conv_shapes(f"enc.{side}x{side}_conv", channels, base)
    size, skips = base, [base]
    for level, multiplier in enumerate(multipliers):
        place = f"{side >> level}x{side >> level}"
        if level:
            shapes |= block(f"enc.{place}_down", size, size, resample=True)
            skips.append(size)
        for number in range(blocks):
            attends = side >> level in attention
            shapes |= block(f"enc.{place}_block{number}", size, multiplier * base, attends=attends)
            size = multiplier * base
            skips.append(size)
    for level, multiplier in reversed(list(enumerate(multipliers))):
        place = f"{side >> level}x{side >> level}"
        if level == len(multipliers) - 1:
            shapes |= block(f"dec.{place}_in0", size, size, attends=True) | block(f"dec.{place}_in1", size, size)
        else:
            shapes |= block(f"dec.{place}_up", size, size, resample=True)
        for number in range(blocks + 1):
            attends = number == blocks and side >> level in attention
            shapes |= block(f"dec.{place}_block{number}", size + skips.pop(), multiplier * base, attends=attends)
            size = multiplier * base
    shapes |= norm_shapes(f"dec.{side}x{side}_aux_norm", size) | conv_shapes(
        f"dec.{side}x{side}_aux_conv", size, channels
    )
    return {f"model.{name}": shape for name, shape in shapes.items()}


def edm_raw(weights: Weights, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
    """The raw network F of x (B, C, H, W), told `noise` (B,): in the order of the names, as its code goes."""
    base = weights["model.map_layer0.weight"].shape[1]
    embedding = waves(noise, base)
    if labels is not None:
        classes = weights["model.map_label.weight"].shape[1]
        chosen = weights["model.map_label.weight"].double().T[labels] * math.sqrt(classes)
        embedding = embedding + chosen + weights["model.map_label.bias"].double()
    embedding = silu(linear(weights, "model.map_layer1", silu(linear(weights, "model.map_layer0", embedding))))

    def norm(name: str, state: Tensor) -> Tensor:
        return normed(weights, name, state, min(32, state.shape[1] // 4), 1e-6)

    def resampled(name: str, state: Tensor) -> Tensor:
        batch, size, height, width = state.shape
        if name.endswith("_down"):
            return state.reshape(batch, size, height // 2, 2, width // 2, 2).mean((3, 5))
        return state.repeat_interleave(2, 2).repeat_interleave(2, 3) if name.endswith("_up") else state

    def block(name: str, state: Tensor) -> Tensor:
        inner = conv(weights, f"{name}.conv0", resampled(name, silu(norm(f"{name}.norm0", state))))
        inner = inner + linear(weights, f"{name}.affine", embedding)[:, :, None, None]
        inner = conv(weights, f"{name}.conv1", silu(norm(f"{name}.norm1", inner)))
        if f"{name}.skip.weight" in weights:
            state = conv(weights, f"{name}.skip", resampled(name, state))
        state = (inner + state) * math.sqrt(0.5)
        if f"{name}.qkv.weight" not in weights:
            return state
        mixed = conv(weights, f"{name}.qkv", norm(f"{name}.norm2", state)).flatten(2)
        value = attended(mixed[:, 0::3], mixed[:, 1::3], mixed[:, 2::3]).reshape(state.shape)
        return (conv(weights, f"{name}.proj", value) + state) * math.sqrt(0.5)

    names = list(dict.fromkeys(".".join(name.split(".")[:3]) for name in weights))
    state, skips = x, []
    for name in (name for name in names if name.startswith("model.enc.")):
        state = conv(weights, name, state) if name.endswith("_conv") else block(name, state)
        skips.append(state)
    for name in (name for name in names if name.startswith("model.dec.")):
        if name.endswith("aux_norm"):
            state = silu(norm(name, state))
        elif name.endswith("aux_conv"):
            state = conv(weights, name, state)
        else:
            state = block(name, torch.cat([state, skips.pop()], dim=1) if "_block" in name else state)
    return state


def edm(weights: Weights, x: Tensor, sigma: float, labels: Tensor | None = None, data: float = 0.5) -> Tensor:
    """D(x; sigma) = x0hat of x = x_0 + sigma eps (Karras et al. 2022, eq. 7)."""
    total = sigma**2 + data**2
    noise = torch.full((len(x),), math.log(sigma) / 4, dtype=torch.float64)
    raw = edm_raw(weights, x / math.sqrt(total), noise, labels)
    return data**2 / total * x + sigma * data / math.sqrt(total) * raw


# The UNet of pytorch-ddpm.


def ddpm_table(timesteps: int, width: int) -> Tensor:
    """Embedding (timesteps, width) of the timesteps: sines and cosines in turn."""
    rows = [
        [wave(step / 10000 ** (2 * i / width)) for i in range(width // 2) for wave in (math.sin, math.cos)]
        for step in range(timesteps)
    ]
    return torch.tensor(rows, dtype=torch.float64)


def ddpm_shapes(
    channels: int,
    base: int,
    multipliers: Sequence[int],
    blocks: int,
    attention: Sequence[int] = (),
    timesteps: int = 1000,
) -> Shapes:
    """By the names of its `state_dict`; `attention` holds numbers of resolutions."""
    width = 4 * base

    def block(name: str, inputs: int, outputs: int, attends: bool) -> Shapes:
        shapes = norm_shapes(f"{name}.block1.0", inputs) | conv_shapes(f"{name}.block1.2", inputs, outputs)
        shapes |= linear_shapes(f"{name}.temb_proj.1", width, outputs)
        shapes |= norm_shapes(f"{name}.block2.0", outputs) | conv_shapes(f"{name}.block2.3", outputs, outputs)
        shapes |= conv_shapes(f"{name}.shortcut", inputs, outputs, 1) if inputs != outputs else {}
        if attends:
            shapes |= norm_shapes(f"{name}.attn.group_norm", outputs)
            for kind in ("proj_q", "proj_k", "proj_v", "proj"):
                shapes |= conv_shapes(f"{name}.attn.{kind}", outputs, outputs, 1)
        return shapes

    shapes: Shapes = {"time_embedding.timembedding.0.weight": (timesteps, base)}
    shapes |= linear_shapes("time_embedding.timembedding.1", base, width)
    shapes |= linear_shapes("time_embedding.timembedding.3", width, width) | conv_shapes("head", channels, base)
    size, skips, down, up = base, [base], 0, 0
    for level, multiplier in enumerate(multipliers):
        for _ in range(blocks):
            shapes |= block(f"downblocks.{down}", size, multiplier * base, level in attention)
            size, down = multiplier * base, down + 1
            skips.append(size)
        if level < len(multipliers) - 1:
            shapes |= conv_shapes(f"downblocks.{down}.main", size, size)
            down += 1
            skips.append(size)
    shapes |= block("middleblocks.0", size, size, True) | block("middleblocks.1", size, size, False)
    for level, multiplier in reversed(list(enumerate(multipliers))):
        for _ in range(blocks + 1):
            shapes |= block(f"upblocks.{up}", size + skips.pop(), multiplier * base, level in attention)
            size, up = multiplier * base, up + 1
        if level:
            shapes |= conv_shapes(f"upblocks.{up}.main", size, size)
            up += 1
    return shapes | norm_shapes("tail.0", size) | conv_shapes("tail.2", size, channels)


def ddpm(weights: Weights, x: Tensor, timestep: float) -> Tensor:
    """Predict eps of x at a timestep from 0, whole or not."""
    base = weights["head.weight"].shape[0]
    angles = [timestep / 10000 ** (2 * i / base) for i in range(base // 2)]
    features = torch.tensor([[wave(a) for a in angles for wave in (math.sin, math.cos)]] * len(x), dtype=torch.float64)
    embedding = silu(linear(weights, "time_embedding.timembedding.1", features))
    embedding = linear(weights, "time_embedding.timembedding.3", embedding)

    def block(name: str, state: Tensor) -> Tensor:
        inner = conv(weights, f"{name}.block1.2", silu(normed(weights, f"{name}.block1.0", state, 32, 1e-5)))
        inner = inner + linear(weights, f"{name}.temb_proj.1", silu(embedding))[:, :, None, None]
        inner = conv(weights, f"{name}.block2.3", silu(normed(weights, f"{name}.block2.0", inner, 32, 1e-5)))
        state = inner + (conv(weights, f"{name}.shortcut", state) if f"{name}.shortcut.weight" in weights else state)
        if f"{name}.attn.proj.weight" not in weights:
            return state
        flat = normed(weights, f"{name}.attn.group_norm", state, 32, 1e-5)
        parts = [conv(weights, f"{name}.attn.{kind}", flat).flatten(2) for kind in ("proj_q", "proj_k", "proj_v")]
        return state + conv(weights, f"{name}.attn.proj", attended(*parts).reshape(state.shape))

    names = list(dict.fromkeys(".".join(name.split(".")[:2]) for name in weights))
    state = conv(weights, "head", x)
    skips = [state]
    for name in (name for name in names if name.startswith("downblocks.")):
        is_smaller = f"{name}.main.weight" in weights
        state = conv(weights, f"{name}.main", state, stride=2) if is_smaller else block(name, state)
        skips.append(state)
    state = block("middleblocks.1", block("middleblocks.0", state))
    for name in (name for name in names if name.startswith("upblocks.")):
        if f"{name}.main.weight" in weights:
            state = conv(weights, f"{name}.main", state.repeat_interleave(2, 2).repeat_interleave(2, 3))
        else:
            state = block(name, torch.cat([state, skips.pop()], dim=1))
    return conv(weights, "tail.2", silu(normed(weights, "tail.0", state, 32, 1e-5)))
