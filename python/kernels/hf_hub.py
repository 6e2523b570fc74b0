"""The Hub by way of huggingface_hub, for programs that ask for it. This library itself goes by its core."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _get_hf_api(user_agent: str | dict[str, Any] | None = None) -> Any:
    from huggingface_hub import HfApi

    from kernels import _kernels

    return HfApi(endpoint=_kernels.endpoint(), library_name="kernels", user_agent=user_agent)


def _platform() -> str:
    import platform

    return f"{platform.machine()}-{platform.system().lower()}"
