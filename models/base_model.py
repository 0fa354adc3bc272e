"""Which trunk: the packaged one, or a base model of the user's; and whether it is an artifact's.

A base model is named by its folder, or as the hub has it (`org/name`, `org/name@revision`), and is
then in Hugging Face's own cache on this machine: no process of ours asks a hub. An artifact says
where its trunk was found, and what its files were: whatever stands there now must be the same.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from models import shape
from models import trunk as packaged
from models.digests import of_files, sha256
from models.errors import ArtifactError, TrunkMissingError

if TYPE_CHECKING:
    from models.registry import Manifest

PACKAGED = "packaged"
TOKENIZER = "tokenizer.json"
FILES = (shape.CONFIG, shape.WEIGHTS, TOKENIZER)
E5_PREFIX = "query: "  # the packaged trunk was trained with one before every text


class BaseModel(Struct, frozen=True):
    """A trunk that is not the packaged one.

    Attributes:
        at: where it was found: a folder, or `org/name@commit`.
        sha256: of its configuration, weights and tokenizer.
    """

    at: str
    sha256: dict[str, str]

    @property
    def name(self) -> str:
        """Of the trunk, and of the space of its vectors: other files have another one."""
        called = Path(self.at).name.partition("@")[0]
        # It stands in headers of HTTP.
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', called)}-{of_files(self.sha256)}"


def chosen(name: str, cache_dir: Path) -> tuple[Path, BaseModel | None]:
    """The folder of the trunk to train on, and what an artifact says of it; None: the packaged one.

    Args:
        name: "packaged", a folder, or a name of the hub's.

    Raises:
        TrunkMissingError: it is not here, or no trunk that can be trained.
    """
    if name == PACKAGED:
        return packaged.trunk_folder(cache_dir), None
    folder, at = _located(name)
    shape.check(folder)
    return folder, BaseModel(at, {each: sha256(folder / each) for each in FILES})


def trunk_of(manifest: Manifest, cache_dir: Path, elsewhere: str = "") -> Path:
    """The folder of an artifact's trunk.

    Args:
        elsewhere: where it is, folder or name, if not where training found it; the packaged trunk
            is where it always is.

    Raises:
        TrunkMissingError: it is not here.
    """
    if manifest.base_model is None:
        return packaged.trunk_folder(cache_dir)
    try:
        return _located(elsewhere or manifest.base_model.at)[0]
    except TrunkMissingError as error:
        if elsewhere:
            raise
        raise TrunkMissingError(
            f"the trunk {manifest.trunk}: {error} (SPRINGTIDE_TRUNK says where it is)"
        ) from None


def check(artifact: Path, manifest: Manifest, trunk: Path) -> None:
    """Whether the trunk in this folder is the one that the artifact was made on.

    Raises:
        ArtifactError: it is another.
    """
    if manifest.base_model is None:
        if manifest.trunk != trunk.name:
            raise ArtifactError(
                f"{artifact} was made on the trunk {manifest.trunk}, here is {trunk.name}: "
                "train it again with `springtide train sentiment`"
            )
        return
    for name in FILES:  # and not what the manifest names: it must name them all
        file = trunk / name
        if not file.is_file() or sha256(file) != manifest.base_model.sha256.get(name):
            raise ArtifactError(
                f"{artifact} was made on the trunk {manifest.trunk}, and {file} is another: name "
                "the right folder with SPRINGTIDE_TRUNK, or train it again"
            )


def embedding_prefix(manifest: Manifest) -> str:
    """What a text begins with that an artifact's trunk embeds."""
    return E5_PREFIX if manifest.base_model is None else manifest.text_prefix


def _located(name: str) -> tuple[Path, str]:
    """Folder, and what leads to it from anywhere on this machine."""
    folder = Path(name).expanduser().absolute()
    if folder.is_dir():
        found, at = folder, str(folder)
    else:
        found, at = _of_hub(name)
    for each in FILES:
        if not (found / each).is_file():
            raise TrunkMissingError(
                f"{found} has no {each}: transformers writes all that is needed with "
                "`save_pretrained` of AutoModel and AutoTokenizer"
            )
    if (found / "adapter_config.json").exists():
        raise TrunkMissingError(f"{found} is an adapter: merge it with its model first")
    return found, at


def _of_hub(name: str) -> tuple[Path, str]:
    """What Hugging Face's cache has under a name."""
    repository, _, revision = name.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repository, re.ASCII):
        raise TrunkMissingError(f"{name} is no folder, and no name of a hub's (org/name)")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError:
        raise TrunkMissingError(
            f"{name} is no folder; names of the hub's need huggingface_hub (`make install`)"
        ) from None
    try:
        found = Path(
            snapshot_download(repository, revision=revision or None, local_files_only=True)
        )
    except (LocalEntryNotFoundError, ValueError):
        of = f" --revision {revision}" if revision else ""
        raise TrunkMissingError(
            f"{name} is no folder, and not in this machine's Hugging Face cache: `hf download "
            f"{repository} {' '.join(FILES)}{of}` where there is a network, or name its folder"
        ) from None
    return found, f"{repository}@{found.name}"
