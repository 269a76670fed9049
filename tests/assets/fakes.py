"""A tiny model in every shape that tunesmith reads (GGUF, wheels, hub), and sources that count what they are asked."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np

from tunesmith.assets import NAMED_MODELS, NamedModel, Sources, Wheel
from tunesmith.errors import AssetError

HIDDEN, HEADS, KV_HEADS, FEED_FORWARD, LAYERS, CONTEXT = 32, 2, 1, 64, 2, 128
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ċ Ċ", "Ġ Ġ", "h i"]
CHAT_TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"


def byte_alphabet() -> list[str]:
    """GPT-2's spelling of the 256 bytes, in order."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def vocabulary() -> list[str]:
    return [*SPECIAL_TOKENS, *byte_alphabet(), *(merge.replace(" ", "") for merge in MERGES)]


def tensors(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)

    def random(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.1).astype(np.float32)

    kv_size = HIDDEN // HEADS * KV_HEADS
    found = {"token_embd.weight": random(len(vocabulary()), HIDDEN), "output_norm.weight": random(HIDDEN)}
    for layer in range(LAYERS):
        found |= {
            f"blk.{layer}.attn_norm.weight": random(HIDDEN),
            f"blk.{layer}.attn_q.weight": random(HIDDEN, HIDDEN),
            f"blk.{layer}.attn_k.weight": random(kv_size, HIDDEN),
            f"blk.{layer}.attn_v.weight": random(kv_size, HIDDEN),
            f"blk.{layer}.attn_output.weight": random(HIDDEN, HIDDEN),
            f"blk.{layer}.ffn_norm.weight": random(HIDDEN),
            f"blk.{layer}.ffn_gate.weight": random(FEED_FORWARD, HIDDEN),
            f"blk.{layer}.ffn_up.weight": random(FEED_FORWARD, HIDDEN),
            f"blk.{layer}.ffn_down.weight": random(HIDDEN, FEED_FORWARD),
        }
    return found


def write_tiny_gguf(path: Path, *, omit: str | None = None) -> Path:
    """A two-layer Llama with tied embeddings, Q4_1 feed-forward weights and a byte-level tokenizer with SmolLM's splits."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("Tiny")
    writer.add_license("apache-2.0")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(vocabulary()))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary())
    writer.add_token_types([3] * len(SPECIAL_TOKENS) + [1] * (len(vocabulary()) - len(SPECIAL_TOKENS)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    for name, values in tensors().items():
        if name == omit:
            continue
        if "ffn" in name and values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_wheel(directory: Path, project: str, members: dict[str, bytes]) -> Path:
    """A wheel that pip accepts."""
    path = wheel_path(directory, project)
    info = f"{project.replace('-', '_')}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\nRequires-Dist: not-wanted\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def write_tiny_wheels(gguf_file: Path, index: Path) -> None:
    """Put the GGUF file into two wheels."""
    content = gguf_file.read_bytes()
    half = len(content) // 2
    write_wheel(index, "tiny-model", {"tiny_model/m.gguf.part00": content[:half], "tiny_model/NOTICE.md": b"be kind"})
    write_wheel(index, "tiny-model-part2", {"tiny_model_part2/m.gguf.part01": content[half:]})


def tiny_named_model(gguf_file: Path, index: Path, *, terms_of: str | None = None) -> NamedModel:
    """Describe the wheels in `index`; `terms_of` gives the model that named model's name and terms."""
    content = gguf_file.read_bytes()
    return NamedModel(
        name=terms_of or "tiny",
        hub_id="acme/tiny",
        kind="chat",
        licence="Apache-2.0",
        num_parameters=100_000,
        quantisation="Q4_1",
        gguf_sha256=hashlib.sha256(content).hexdigest(),
        gguf_bytes=len(content),
        wheels=(
            _wheel("tiny-model", index, parts=("tiny_model/m.gguf.part00",), documents=("tiny_model/NOTICE.md",)),
            _wheel("tiny-model-part2", index, parts=("tiny_model_part2/m.gguf.part01",)),
        ),
        terms=NAMED_MODELS[terms_of].terms if terms_of else None,
    )


def wheel_path(index: Path, project: str) -> Path:
    return index / f"{project.replace('-', '_')}-1.0-py3-none-any.whl"


def _wheel(project: str, index: Path, *, parts: tuple[str, ...], documents: tuple[str, ...] = ()) -> Wheel:
    content = wheel_path(index, project).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Wheel(project=project, version="1.0", sha256=digest, num_bytes=len(content), parts=parts, documents=documents)


@dataclass(kw_only=True)
class FakeIndex:
    """A package index in a folder."""

    directory: Path
    fetched: list[str] = field(default_factory=list)

    def __call__(self, wheel: Wheel, directory: Path) -> Path:
        self.fetched.append(wheel.project)
        source = wheel_path(self.directory, wheel.project)
        target = directory / source.name
        target.write_bytes(source.read_bytes())
        return target


@dataclass(kw_only=True)
class FakeHub:
    """A hub that holds `snapshots`; `here` are the ones that need no network."""

    reachable: bool = False
    here: dict[str, Path] = field(default_factory=dict)
    snapshots: dict[str, Path] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def cached(self, hub_id: str) -> Path | None:
        return self.here.get(hub_id)

    def is_reachable(self) -> bool:
        self.asked.append("reachable?")
        return self.reachable

    def download(self, hub_id: str) -> Path:
        self.asked.append(hub_id)
        if hub_id not in self.snapshots:
            raise AssetError(hub_id, "the hub did not give it (404)", expected="a model", remedy="check the name")
        return self.snapshots[hub_id]


def no_fetch(wheel: Wheel, directory: Path) -> Path:
    raise AssertionError(f"the network was asked for {wheel.requirement}")


class NoHub(FakeHub):
    """A hub that must not be asked anything that needs the network."""

    def is_reachable(self) -> bool:
        raise AssertionError("the hub was asked")


def forbidden(model: NamedModel) -> Sources:
    """Sources for a machine where touching the network is a failure."""
    return Sources(models={model.name: model}, fetch_wheel=no_fetch, hub=NoHub())
