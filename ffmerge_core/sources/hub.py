"""Models of the Hugging Face hub: "hf:org/name", "hf:org/name@revision" and "timm:name".

huggingface_hub downloads, resumes and caches. Ours is the choice of files, and a sentence for
whatever goes wrong. A token is read by that library alone, from the environment or its own login.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffmerge_core.errors import SourceError, UnsupportedModelError
from ffmerge_core.progress import Report, silent
from ffmerge_core.storage.memory import free_memory, size_in_words
from ffmerge_core.storage.pickled import CONSENT

HUB, TIMM = "hf:", "timm:"

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_REVISION = re.compile(r"[\w./-]+")
# What a model is built and read from; never code, and never weights of other frameworks.
_BESIDE = re.compile(
    r"(config|generation_config|preprocessor_config|processor_config|tokenizer|tokenizer_config"
    r"|special_tokens_map|added_tokens|vocab|ffmerge)\.json|vocab\.txt|merges\.txt|README\.md"
    r"|[\w.-]+\.(spm|model|sentencepiece)|adapter_config\.json"
)
_PICKLED = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json")
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Fetched:
    """A snapshot on this computer. source: as given, with the commit that it is."""

    folder: Path
    source: str


def is_remote(source: str) -> bool:
    """Whether `source` names a model of the hub."""
    return source.startswith((HUB, TIMM))


def fetch(source: str, report: Report = silent, allow_bin: bool = False) -> Fetched:
    """Bring a model's files here, unless they are here already.

    source: "hf:org/name", with "@" and a branch, tag or commit if not the newest is meant; or
    "timm:name" for the weights that timm has under this name. Without a connection, what was
    downloaded before is taken. A connection that is cut is taken up again where it was; of a
    download that was cancelled, the files that are complete are kept. Raises `SourceError` in a
    sentence. allow_bin: a pickle is downloaded too, where there is no safetensors.
    """
    repo, revision = _place_of(source)
    from huggingface_hub import HfApi, get_cached_repo_tree, snapshot_download

    with _sentences(repo, revision):
        try:
            report(0, 1, f"Asking the hub for {repo}")
            found = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=10)
            sizes = {file.rfilename: int(file.size or 0) for file in found.siblings or ()}
            online = True
        except unreachable():
            sizes = {file.path: file.size for file in get_cached_repo_tree(repo, revision=revision)}
            online = False
        wanted = _wanted(repo, sizes, allow_bin)
        _check_memory(repo, wanted)
        if online:
            _check_room(repo, sum(wanted.values()))
        folder = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=list(wanted),
            local_files_only=not online,
            tqdm_class=_bars(report, repo, sum(wanted.values())),
            max_workers=4,
        )
    return Fetched(Path(folder), f"{HUB}{repo}@{Path(folder).name}")


def _place_of(source: str) -> tuple[str, str | None]:
    """(org/name, revision or None); `SourceError` for what is no such address."""
    if source.startswith(TIMM):
        return _timm_place(source.removeprefix(TIMM)), None
    repo, at, revision = source.removeprefix(HUB).strip().partition("@")
    if not _NAME.fullmatch(repo) or (at and not _REVISION.fullmatch(revision)) or ".." in source:
        raise SourceError(
            f"“{source[:200]}” is no address on the hub; hf:organisation/name was expected, with "
            "@ and a branch, tag or commit behind it if not the newest is meant."
        )
    return repo, revision or None


def _timm_place(name: str) -> str:
    import timm

    known = timm.get_pretrained_cfg(name, allow_unregistered=False) if timm.is_model(name) else None
    if known is None or not known.hf_hub_id:
        raise UnsupportedModelError(
            f"timm has no weights called “{name[:200]}” on the hub. timm.list_pretrained() has "
            "the names that it knows."
        )
    return str(known.hf_hub_id)


def _wanted(repo: str, sizes: Mapping[str, int], allow_bin: bool) -> dict[str, int]:
    """Of all files of a repository with their bytes, those that make a model.

    `SourceError` if none of them holds weights that may be opened.
    """
    weights = [name for name in sizes if name.endswith(".safetensors") and "/" not in name]
    allowed = [name for name in sizes if _PICKLED.fullmatch(name)]
    if not weights and allowed and allow_bin:
        weights = allowed
    if not weights:
        pickles = sorted(name for name in sizes if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
        has = f"only as a pickle ({pickles[0]})" if pickles else "in no file that is known here"
        raise SourceError(
            f"{repo} keeps its weights {has}; safetensors were expected, which cannot run code. "
            f"Choose a repository or a revision that has them{CONSENT if allowed else '.'}"
        )
    if "model.safetensors" in weights or _INDEX in sizes:
        # Others beside them are of other precisions or of adapters.
        weights = [name for name in weights if _of_the_model(name)]
    names = [name for name in sizes if _BESIDE.fullmatch(name) or name in (*weights, _INDEX)]
    return {name: sizes[name] for name in names}


def _check_room(repo: str, needed: int) -> None:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    free = shutil.disk_usage(next(p for p in (cache, *cache.parents) if p.exists())).free
    if needed > free:
        raise SourceError(
            f"{repo} takes {_size(needed)} and the disk of {cache} has {_size(free)} free. "
            "Make room, or set HF_HOME to a folder on another disk."
        )


def _check_memory(repo: str, wanted: Mapping[str, int]) -> None:
    """A model takes as much memory as its files of weights at least, and more of half precision."""
    needed = sum(size for name, size in wanted.items() if name.endswith((".safetensors", ".bin")))
    if needed > (free := free_memory()):
        raise SourceError(
            f"The weights of {repo} take {size_in_words(needed)} of memory at least, and "
            f"{size_in_words(free)} are free. Close other programs, or use a larger computer."
        )


def _of_the_model(name: str) -> bool:
    return re.fullmatch(r"model(-\d+-of-\d+)?\.safetensors", name) is not None


def unreachable() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises where there is no connection, or none is wanted."""
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import _http

    # Its HTTP library is httpx2 since huggingface_hub 2, and was httpx before.
    http: Any = getattr(_http, "httpx2", None) or getattr(_http, "httpx", None)
    return (OfflineModeIsEnabled, http.TimeoutException, http.NetworkError, http.ProtocolError)


@contextmanager
def _sentences(repo: str, revision: str | None) -> Iterator[None]:
    """Make a `SourceError` of whatever the hub or the way there answers. No token is shown."""
    from huggingface_hub import errors

    asked = f"{repo} at {revision}" if revision else repo
    try:
        yield
    except errors.GatedRepoError:
        raise SourceError(
            f"{repo} is gated: its owner asks for a login and for consent to terms. Accept them on "
            "its page, then set HF_TOKEN or run `hf auth login`."
        ) from None
    except errors.RepositoryNotFoundError:
        raise SourceError(
            f"The hub knows no repository {repo}, or it is private and your login may not read it. "
            "Check the spelling, or set HF_TOKEN to a token that may."
        ) from None
    except errors.RevisionNotFoundError:
        raise SourceError(
            f"{repo} has no branch, tag or commit called {revision}. Leave it out for the newest."
        ) from None
    except (errors.CachedRepoTreeNotFoundError, errors.LocalEntryNotFoundError) as error:
        if isinstance(cause := error.__cause__, errors.HfHubHTTPError):
            raise SourceError(answer_in_words(asked, cause)) from None
        raise SourceError(
            f"The hub cannot be reached, and {asked} was not downloaded whole before. Connect this "
            "computer, or give a folder that holds the model."
        ) from None
    except errors.HfHubHTTPError as error:
        raise SourceError(answer_in_words(asked, error)) from None
    except unreachable():
        raise SourceError(
            f"The connection to the hub was lost while {asked} was downloaded, and several tries "
            "to go on failed. Try again later: the files that are complete are kept."
        ) from None
    except OSError as error:
        raise SourceError(
            f"{asked} could not be written to this computer ({error.strerror or error}). Make "
            "room, or set HF_HOME to a folder that can be written."
        ) from None


def answer_in_words(asked: str, error: Any, other: str = "a folder that holds the model") -> str:
    """What the hub's status code means. asked: for. other: what may be given in its place."""
    code = error.response.status_code
    what = {
        401: "does not accept the login. Set HF_TOKEN to a token that is valid, or remove it",
        403: "does not let this login read it. Ask its owner, or use another token",
        404: "has no such file. Check the name and the revision",
        429: "was asked too often by this computer. Wait a few minutes and try again",
    }.get(code, f"has trouble of its own. Try again later, or give {other}")
    return f"The hub answered {code} for {asked}: it {what}."


def _bars(report: Report, repo: str, total: int) -> Any:
    """A progress bar that draws nothing and tells the report, which may raise `Cancelled`."""
    from huggingface_hub.utils.tqdm import tqdm

    bar: Any = tqdm

    class Told(bar):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs | {"file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            done: bool | None = super().update(n)
            # Of its three bars, the one that counts what is on the disk.
            if self.unit == "B" and "Reconstruct" in (self.desc or ""):
                at = min(int(self.n), total)
                said = f"Downloading {repo}: {_size(at)} of {_size(total)}"
                report(at, max(total, 1), said)
            return done

    return Told


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
