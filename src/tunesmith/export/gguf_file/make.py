"""A model -> a GGUF file of any type, read back and found to be what was meant; four bits by way of a file in f16.

>>> make_gguf(subject, Path("exports/faq"), "q4_k_m", licence=None, say=print).said
'before llama-quantize made q4_k_m of it: 236 tensors read back, …; then 71 % of the weights in q4_k, 29 % in q6_k; 5.1 bits a weight'
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from gguf import GGUFReader

from tunesmith.export.chat_template import jinja_template
from tunesmith.export.gguf_file.four_bits import KINDS, TOOL, quantize_file, require_tool
from tunesmith.export.gguf_file.header import Header, intended_header, require_header
from tunesmith.export.gguf_file.tensors import WeightType
from tunesmith.export.gguf_file.vocabulary import unlike_llama_cpp
from tunesmith.export.gguf_file.write import read_back, write_gguf
from tunesmith.export.parity import ParityError
from tunesmith.export.subject import Say, Subject


@dataclass(frozen=True, kw_only=True, slots=True)
class GgufFile:
    """What was written."""

    path: Path
    header: Header
    """As it stands in the file."""
    said: str
    """What was found when the file was read again, in a sentence."""
    limits: tuple[str, ...]
    """Texts that llama.cpp splits otherwise than we do, in sentences."""


def make_gguf(subject: Subject, directory: Path, kind: str, *, licence: str | None, say: Say) -> GgufFile:
    """Write it under the subject's name; the subject is merged by this.

    Args:
        subject: what is exported.
        directory: exists.
        kind: `f32`, `f16`, `bf16`, `q8_0`, or one of four bits.
        licence: for the file; None takes the base's.
        say: told what is done.

    Raises:
        ConfigError: llama.cpp has no such architecture or tokenizer, or four bits are asked for and its tool is not there.
        AssetError: a tensor is not the one that was to be written, or the tool failed.
        ParityError: the file says something else of prompts and answers than was meant.
    """
    file = directory / f"{subject.name}-{kind}.gguf"
    if kind in KINDS:
        whole = _write(subject, directory / f"{subject.name}-f16.gguf", "f16", licence=licence, say=say)
        return _quantized(whole, file, kind, say)
    return _write(subject, file, kind, licence=licence, say=say)  # type: ignore[arg-type]


def _write(subject: Subject, file: Path, weight_type: WeightType, *, licence: str | None, say: Say) -> GgufFile:
    say(f"Writing {file.name}.")
    network, renderer = subject.merged(), subject.opened.renderer
    template = renderer.tokenizer.chat_template if subject.opened.trained_on_text else jinja_template(renderer)
    base_licence = None if subject.origin.licence == "unknown" else subject.origin.licence
    write_gguf(network, renderer, file, weight_type=weight_type, name=subject.name, chat_template=template, licence=licence or base_licence)
    header = intended_header(renderer, template)
    said = read_back(file, network, weight_type, header)
    return GgufFile(path=file, header=header, said=said, limits=unlike_llama_cpp(renderer))


def _quantized(whole: GgufFile, file: Path, kind: str, say: Say) -> GgufFile:
    """In place of the file in f16. Its weights are llama.cpp's affair; that all are there, and that the header stayed, is looked at."""
    say(f"Quantising it to {kind}.")
    names = {tensor.name for tensor in GGUFReader(whole.path).tensors}
    quantize_file(require_tool(), whole.path, file, kind)
    reader = GGUFReader(file)
    require_header(reader, whole.header, file=file)
    if lost := names ^ {tensor.name for tensor in reader.tensors}:
        expected, remedy = "those of the file in f16", "choose --type q8_0, or update llama.cpp"
        raise ParityError(str(file), f"{TOOL} wrote other tensors, {min(lost)} among them", expected=expected, remedy=remedy)
    whole.path.unlink()
    said = f"before {TOOL} made {kind} of it: {whole.said}; then {_types(reader)}"
    return GgufFile(path=file, header=whole.header, said=said, limits=whole.limits)


def _types(reader: GGUFReader) -> str:
    """Which types the weights came to: llama.cpp takes another one for rows that are no whole number of a type's blocks."""
    weights: Counter[str] = Counter()
    for tensor in reader.tensors:
        weights[tensor.tensor_type.name.lower()] += int(tensor.n_elements)
    total = sum(weights.values())
    shares = ", ".join(f"{count / total:.0%} of the weights in {name}" for name, count in weights.most_common() if count / total >= 0.01)
    bits = 8 * sum(int(tensor.n_bytes) for tensor in reader.tensors) / total
    return f"{shares}; {bits:.1f} bits a weight"
