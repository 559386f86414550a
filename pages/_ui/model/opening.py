"""Choosing what is open: a demo, a folder, other data, or what a recipe names."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ffmerge_core import demos
from ffmerge_core.errors import DataError
from ffmerge_core.models.families import FAMILIES
from ffmerge_core.plan import (
    BLEU_TOKENIZERS,
    MergePlan,
    Recipe,
    plan_in_words,
    recipe_from_json,
)
from ffmerge_core.reporting.formats import count
from ffmerge_core.reporting.recoveries import recovery_in_words
from ffmerge_core.sources.presets import PRESETS
from ffmerge_core.tasks.kinds import DIGITS, TASKS
from pages._ui.pieces.job_panel import job_panel, latest_job, start_job
from pages._ui.pieces.opened import open_model
from pages._ui.pieces.widgets import guarded, next_step
from pages._ui.state.recipes import check_restorable, restore
from pages._ui.state.shared import current_workspace, run_store, shelf
from pages._ui.state.subject import Opened, Subject
from pages._ui.state.uploads import keep

FIDELITY = "Fidelity: compare with the original only (needs no labels)"
FIDELITY_HELP = (
    "Scores how often a merged model makes the same decision as the original, and how far its "
    "probabilities move. Only the inputs of the data are used."
)
SAVED, OWN = "saved", "own"
MOST_RECENT = 5
MEASURED_ON = {
    DIGITS: "The built-in digits (image models)",
    SAVED: "The data it was saved with",
    OWN: "Your own data",
}


def demo_row(opened: Opened) -> None:
    """The demos side by side, the one that is open marked; from their cards alone."""
    names = demos.names()
    for column, name in zip(st.columns(len(names)), names, strict=True):
        with column.container(border=True, height="stretch", vertical_alignment="distribute"):
            _demo(Opened(demos.PREFIX + name), opened)


def _demo(demo: Opened, opened: Opened) -> None:
    card = demos.card(demo.source)
    st.markdown(
        f"**{card.title}**  \n:small[{TASKS.of(card.kind).label}, measured by {card.metric}]  \n"
        f":small[{count(card.n_parameters)} parameters, {len(card.sublayers)} FF sublayers]"
    )
    is_open = opened.source == demo.source
    with st.container(horizontal=True, vertical_alignment="center"):
        if is_open:
            st.badge("Open", icon=":material/check:", color="green")
        if opened != demo:
            st.button(
                "Back to its own data" if is_open else "Open",
                key=f"open-{card.name}",
                on_click=open_model,
                args=(demo,),
                help="The groups that you picked are kept."
                if is_open
                else "The groups that you picked on the open model are kept with that model.",
            )


def open_something_else(subject: Subject) -> None:
    """The user's own data, model folders and recipes; what is being opened, and how it ended."""
    with st.expander("Your own data, another model, or a recipe", icon=":material/folder_open:"):
        data, folder, recipe = st.tabs(["Your own data", "Another model", "A recipe"])
        with data, guarded():
            _own_data(subject)
        with folder, guarded():
            _folder()
        with recipe, guarded():
            _recipe()
    _opening(subject)


def _own_data(subject: Subject) -> None:
    opened = subject.opened
    # Named by what is open, so that they are empty again once it is another.
    name = f"{opened.source}-{opened.data}-{opened.fidelity}-{opened.tokenize}"
    kind = TASKS.of(subject.kind)
    upload, path = _data_inputs(name, kind.format)
    fidelity = st.toggle(
        FIDELITY, value=opened.fidelity, key=f"fidelity-{name}", help=FIDELITY_HELP
    )
    tokenize = _tokenize(opened, name) if kind.metric == "BLEU" else None
    with st.container(horizontal=True):
        pressed = st.button("Measure on this", type="primary")
        if not opened.source.startswith(demos.PREFIX):
            if kind.takes_digits and opened.data != DIGITS:
                st.button(
                    "Use the built-in digits",
                    on_click=open_model,
                    args=(replace(opened, data=DIGITS),),
                )
            if opened.data is not None:
                st.button(
                    "Use the data it was saved with",
                    on_click=open_model,
                    args=(opened.itself,),
                )
    if pressed:
        given = upload is not None or path
        data = _given(upload, path) if given else opened.data
        wanted = Opened(opened.source, data, fidelity, tokenize, opened.allow_bin)
        if not given and wanted == opened:
            raise DataError("Upload a file or give a path first.")
        _open(wanted)


def _tokenize(opened: Opened, name: str) -> str | None:
    """How BLEU is to split a translation; None for what its language asks for."""
    return st.selectbox(
        "How BLEU splits a translation into words",
        [None, *BLEU_TOKENIZERS],
        index=[None, *BLEU_TOKENIZERS].index(opened.tokenize),
        format_func=lambda each: BLEU_TOKENIZERS[each].line if each else "By the language",
        key=f"tokenize-{name}",
        help="BLEU counts words. By the language: characters for Chinese, words by MeCab for "
        "Japanese and Korean where it is installed, else what is between spaces and punctuation. "
        "The score says which it was.",
    )


def _folder() -> None:
    st.write(
        "A folder with safetensors weights, saved here, by transformers' `save_pretrained` or by "
        "timm's `save_for_hf`. Or a model of the hub, which is downloaded once: `timm:name`, or "
        "`hf:organisation/name` with `@` and a branch, tag or commit behind it if you want. The "
        "groups that you picked on the open model are kept with that model."
    )
    with st.popover("Which models open?"):
        for kind in TASKS.values():
            if known := [each.name for each in FAMILIES.values() if each.kind == kind.name]:
                st.markdown(f"**{kind.label}**: {', '.join(known)}.")
        st.markdown(
            "Others open if a trial finds their FF sublayers. Every load proves what was found."
        )
    if recent := _opened_before():
        st.pills("Opened before", recent, key="opened-before", on_change=_take_opened_before)
    folder = st.text_input(
        "Folder on this computer, or a model of the hub",
        key="folder",
        placeholder="/path/to/model, hf:organisation/name or timm:name",
    ).strip()
    allow_bin = st.checkbox(
        "Allow pytorch_model.bin, a pickle, where there is no safetensors",
        key="folder-allow-bin",
        help="A pickle can run code when it is opened. It is read by torch's weights-only loader, "
        "which refuses whatever is no tensor. Allow it for files whose origin you trust.",
    )
    measured_on = st.radio(
        "Data to measure on",
        list(MEASURED_ON),
        key="measured_on",
        format_func=MEASURED_ON.__getitem__,
    )
    given = _data_inputs("folder", _formats()) if measured_on == OWN else None
    fidelity = st.toggle(FIDELITY, key="folder-fidelity", help=FIDELITY_HELP)
    if st.button("Open model", type="primary", icon=":material/folder_open:"):
        if not folder:
            raise DataError(
                "Give the folder that holds config.json and model.safetensors, or hf: and a name."
            )
        own = DIGITS if measured_on == DIGITS else None
        data = _given(*given) if given else own
        _open(Opened(folder, data, fidelity, allow_bin=allow_bin))


def _opened_before() -> list[str]:
    """The last few models that were opened on this server or have runs; demos have cards."""
    here = [subject.source for subject in reversed(shelf().subjects.values())]
    known = dict.fromkeys((*here, *run_store().sources()))
    return [source for source in known if not source.startswith(demos.PREFIX)][:MOST_RECENT]


def _take_opened_before() -> None:
    """Put the model that was clicked into the field."""
    if chosen := st.session_state["opened-before"]:
        st.session_state["folder"] = chosen
        st.session_state["opened-before"] = None


def _formats() -> str:
    """How data of each kind has to look, a line each; kinds that read the same share one."""
    kinds: dict[str, list[str]] = {}
    for kind in TASKS.values():
        kinds.setdefault(kind.format, []).append(kind.label)
    lines = (f"- **{', '.join(labels)}.** {format}" for format, labels in kinds.items())
    return "\n".join(lines) + "\n\n"


def _data_inputs(key: str, help: str) -> tuple[UploadedFile | None, str]:
    st.caption(
        f"{help} 80% of the examples become the training split, 10% the validation split and 10% "
        "the test split. The content of an example decides its split. An upload is kept in the "
        "data folder, so that recipes can find it again. Data of the hub is streamed, and its own "
        f"splits are used where it has them: {', '.join(PRESETS)}, or `hf:organisation/name`, with "
        "`/configuration`, `@revision` and `?text=column&label=column` behind it if you want."
    )
    upload = st.file_uploader("Upload a file", key=f"{key}-upload")
    path = st.text_input(
        "Or a path on this computer, or data of the hub", key=f"{key}-path"
    ).strip()
    return upload, path


def _given(upload: UploadedFile | None, path: str) -> str:
    """The path of the data that was given by an upload or as a path."""
    if upload is not None and path:
        raise DataError(
            "There is both an upload and a path, and only one of them can be used. Remove one."
        )
    if upload is not None:
        return str(keep(upload.name, upload.getvalue()))
    if not path:
        raise DataError("Upload a file or give a path first.")
    return path


def _open(wanted: Opened) -> None:
    open_model(wanted, anew=True)
    st.rerun()


def _recipe() -> None:
    st.write(
        "A recipe is a file that says how a merged model was made. The Merge page, the command "
        "line and stored runs write one. Opening it opens its model and data, and puts its groups "
        "and choices on the Merge page."
    )
    upload = st.file_uploader("Upload a recipe (JSON)", type="json", key="recipe-upload")
    text = st.text_area("Or paste it", key="recipe-text", height=120).strip()
    if st.button("Open recipe", type="primary"):
        if upload is None and not text:
            raise DataError("Upload a recipe or paste one first.")
        if upload is not None and text:
            raise DataError(
                "There is both an upload and a pasted recipe, and only one of them can be opened. "
                "Remove one."
            )
        _start(recipe_from_json(text if upload is None else upload.getvalue()))
        st.rerun()


def _start(recipe: Recipe) -> None:
    workspace, models, plan = current_workspace(), shelf(), check_restorable(recipe)

    def ended(opened: Opened) -> None:
        subject = models.subject(opened)
        assert subject is not None, "it was opened just now"
        restore(workspace, recipe, subject)

    start_job(
        "recipe",
        f"Opening the recipe of {recipe.source}",
        lambda report: (models.open_recipe(recipe, report), plan),
        lambda job: ended(job.result[0]) if job.result else None,
        key=(workspace.opened, recipe),
    )


def _opening(subject: Subject) -> None:
    """What is being opened, and how it ended while the model is still the one it ended on."""
    for kind in ("open", "recipe"):
        job = latest_job(kind)
        if job is None:
            continue
        asked_on = job.key[0] if isinstance(job.key, tuple) else None
        if job.active or (job.status != "done" and asked_on == subject.opened):
            job_panel(job)
        elif kind == "recipe" and job.status == "done":
            _restored(subject, *job.result, job.key[1])


def _restored(subject: Subject, opened: Opened, plan: MergePlan, recipe: Recipe) -> None:
    if opened == subject.opened and current_workspace().groups == plan.groups:
        st.success(f"The recipe is open: {plan_in_words(plan)}.")
        if recipe.recovery is not None:
            st.info(
                "The recipe also has a recovery, a short fine-tune after the merge: "
                f"{recovery_in_words(recipe.recovery)}. Set it on the Recover page. `ffmerge run` "
                "on the recipe does both."
            )
        next_step("pages/merge.py", "Merge with this recipe")
