"""A network and its tokenizer -> one GGUF file, and the file read back, header and tensor for tensor.

>>> write_gguf(network, renderer, Path("faq-f16.gguf"), weight_type="f16", name="faq", chat_template=jinja)
>>> read_back(Path("faq-f16.gguf"), network, "f16", intended_header(renderer, jinja))
'272 tensors read back, all equal to the merged weights to the bit'
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from numpy.typing import NDArray
from transformers import PreTrainedModel

from tunesmith.errors import AssetError
from tunesmith.export.gguf_file.architectures import add_hyperparameters, architecture_of
from tunesmith.export.gguf_file.header import Header, require_header
from tunesmith.export.gguf_file.tensors import BLOCK, FILE_TYPES, NamedTensor, WeightType, gguf_tensors
from tunesmith.export.gguf_file.vocabulary import add_vocabulary, read_vocabulary
from tunesmith.render.renderer import Renderer

HALF_STEP = 0.57
"""Of q8_0: most that a weight may be off, in steps. Half a step is rounding; the step itself is kept in float16, which moves the
127th multiple by another 127 / 2,048 of one."""


def write_gguf(
    network: PreTrainedModel,
    renderer: Renderer,
    file: Path,
    *,
    weight_type: WeightType,
    name: str,
    chat_template: str | None,
    licence: str | None = None,
) -> None:
    """Write the whole file; nothing of it is kept in memory but one tensor.

    Raises:
        ConfigError: llama.cpp has no such architecture or tokenizer.
    """
    logging.getLogger("gguf.gguf_writer").setLevel(logging.WARNING)
    config: Any = network.config
    architecture = architecture_of(config)
    vocabulary = read_vocabulary(renderer, network.get_input_embeddings().weight.shape[0])
    writer = GGUFWriter(file, gguf.MODEL_ARCH_NAMES[architecture.arch])
    try:
        writer.add_type(gguf.GGUFType.MODEL)
        writer.add_name(name)
        if licence:
            writer.add_license(licence)
        writer.add_file_type(FILE_TYPES[weight_type])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        add_hyperparameters(writer, config, architecture)
        add_vocabulary(writer, renderer, vocabulary, chat_template)
        _write_tensors(writer, network, weight_type)
    finally:
        writer.close()


def _write_tensors(writer: GGUFWriter, network: PreTrainedModel, weight_type: WeightType) -> None:
    """Twice through the tensors: their sizes stand before their data."""
    architecture = architecture_of(network.config)
    for tensor in gguf_tensors(network, architecture, weight_type):
        data = stored(tensor)
        raw = None if data.dtype in (np.float32, np.float16) else tensor.kind
        writer.add_tensor_info(tensor.name, data.shape, data.dtype, data.nbytes, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in gguf_tensors(network, architecture, weight_type):
        writer.write_tensor_data(stored(tensor))


def stored(tensor: NamedTensor) -> NDArray[Any]:
    """The tensor's numbers in the type it is kept in."""
    data: NDArray[Any] = gguf.quants.quantize(tensor.values, tensor.kind)
    return data


def read_back(file: Path, network: PreTrainedModel, weight_type: WeightType, header: Header) -> str:
    """Read the file as any program would; compare its header with what was meant and every tensor with the network's weights.

    Returns:
        What was found, in a sentence.

    Raises:
        ParityError: the header says something else.
        AssetError: a tensor is missing, or another one than was to be written.
    """
    reader = GGUFReader(file)
    require_header(reader, header, file=file)
    written = {tensor.name: tensor for tensor in reader.tensors}
    rounded = 0
    expected_names = set()
    for tensor in gguf_tensors(network, architecture_of(network.config), weight_type):
        expected_names.add(tensor.name)
        if tensor.name not in written:
            raise _differs(file, f"the tensor {tensor.name} is missing")
        found = written[tensor.name]
        values = gguf.quants.dequantize(found.data, found.tensor_type).reshape(tensor.values.shape)
        if found.tensor_type != tensor.kind or not _is_same(values, tensor):
            raise _differs(file, f"the tensor {tensor.name} is not the one that was to be written")
        rounded += found.tensor_type == GGMLQuantizationType.Q8_0
    if extra := written.keys() - expected_names:
        raise _differs(file, f"there is a tensor {min(extra)} too many")
    exact = f"all equal to the merged weights{'' if weight_type == 'f32' else f' in {weight_type}'} to the bit"
    in_steps = f"{rounded} of them within half a step of q8_0, the others equal to the bit"
    return f"{len(written)} tensors read back, {in_steps if rounded else exact}"


def _is_same(found: NDArray[np.float32], tensor: NamedTensor) -> bool:
    """To the bit, after casting; of q8_0 within a step's half."""
    if tensor.kind != GGMLQuantizationType.Q8_0:
        expected = gguf.quants.dequantize(stored(tensor), tensor.kind).reshape(tensor.values.shape)
        return bool(np.array_equal(found, expected)) and _is_cast(expected, tensor)
    blocks = tensor.values.reshape(-1, BLOCK)
    step = np.abs(blocks).max(-1, keepdims=True) / 127
    return bool((np.abs(found.reshape(-1, BLOCK) - blocks) <= HALF_STEP * step + 1e-7).all())


def _is_cast(values: NDArray[np.float32], tensor: NamedTensor) -> bool:
    """Numpy's own cast as a second opinion on the library's."""
    if tensor.kind == GGMLQuantizationType.F16:
        return bool(np.array_equal(values, tensor.values.astype(np.float16).astype(np.float32)))
    return tensor.kind != GGMLQuantizationType.F32 or bool(np.array_equal(values, tensor.values))


def _differs(file: Path, found: str) -> AssetError:
    return AssetError(str(file), found, expected="the merged weights", remedy="export again; if it stays so, report it")
