"""Habits of the field's own scripts as a user of them brings them to ``wsss-bench run``: answered before a stage runs.

Each case runs the command line on a devkit of five photographs with a plugin of a few lines, and looks that nothing was
written where it is refused.
"""

from __future__ import annotations

import io
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

from bad_input_cases import Place
from field_case import FieldCase

from wsss_bench.cli import main


def run(place: Place, *more: str) -> tuple[int, str]:
    """Run the command line in the folder of the place; return its status and what it printed."""
    text = io.StringIO()
    words = [*place.command("run"), *more]
    with chdir(place.folder), redirect_stdout(text), redirect_stderr(text):
        status = main(words)
    return status, text.getvalue()


def refused(place: Place, words: list[str], *says: str) -> None:
    """Feed words to a run and look that they are refused, each of `says` named, before anything is written."""
    before = sorted(place.folder.rglob("*"))
    status, text = run(place, *words)
    assert status == 2, text
    for word in says:
        assert word in text, text
    after = [path for path in place.folder.rglob("*") if "__pycache__" not in str(path)]
    assert sorted(after) == [path for path in before if "__pycache__" not in str(path)]


def planned(place: Place, words: list[str], *says: str) -> None:
    """Feed words to a dry run and look that it says each of `says`."""
    status, text = run(place, *words, "--dry-run")
    assert status == 0, text
    for word in says:
        assert word in text, text


def no_workers(tmp_path: Path) -> None:
    refused(Place(tmp_path), ["--workers", "0"], "--workers must be at least 1, not 0")


def list_as_a_path(tmp_path: Path) -> None:
    words = ["--train-split", "voc12/train_aug.txt"]
    refused(Place(tmp_path), words, "no split 'voc12/train_aug.txt'", "--train-split")


def test_as_val(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.list("test").write_text("f\ng\n")
    for name in "fg":
        place.photo(name).write_bytes(place.photo("a").read_bytes())
    words = ["--val-split", "test"]
    refused(place, words, "VOC's test masks are not public; score on val")


def no_val_list(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.list("val").unlink()
    refused(place, [], "no split 'val' (--val-split)", "Known: train")


def weights_by_address(tmp_path: Path) -> None:
    place = with_weights(tmp_path)
    address = "https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth"
    words = ["--cfg-options", f"localize.weights='{address}'"]
    refused(place, words, "localize.weights", "is no file")


def weights_of_mxnet(tmp_path: Path) -> None:
    place = with_weights(tmp_path)
    name = "ilsvrc-cls_rna-a1_cls1000_ep-0001.params"
    words = ["--weights", name]
    refused(place, words, f"--weights: '{name}' is no file", "imagenet, timm")


def weights_of_an_earlier_step(tmp_path: Path) -> None:
    place = with_weights(tmp_path)
    words = ["--cfg-options", "localize.weights=sess/res50_cam.pth"]
    refused(place, words, "localize.weights", "'sess/res50_cam.pth' is no file")


def with_weights(folder: Path) -> Place:
    """A place whose plugin has a parameter for weights."""
    place = Place(folder)
    text = place.probe.read_text()
    place.probe.write_text(text.replace('"gain": 1.0', '"gain": 1.0, "weights": None'))
    return place


def gpu_by_number(tmp_path: Path) -> None:
    refused(Place(tmp_path), ["--device", "0,1,2,3"], "--device '0,1,2,3'", "cuda:N")


def session_name(tmp_path: Path) -> None:
    words = ["--name", "sess/res50_cam"]
    refused(Place(tmp_path), words, "--name 'sess/res50_cam'", "letters, digits")


def result_folder_below_a_file(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.folder / "result").write_text("")
    words = ["--work-dir", str(place.folder / "result" / "cam")]
    refused(place, words, "--work-dir", "result is no folder", "Choose another")


def augmented_masks_alone(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.list("train").rename(place.list("train_aug"))
    place.list("train").write_text("a\nb\n")
    planned(place, [], "warning: voc2012/val: no mask has an ignored border (255)")


def photographs_of_another_release(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for name in "de":
        place.photo(name).unlink()
    says = "image 'd' is listed", "nor are 1 more of 2", "data verify"
    refused(place, [], *says)


def one_seed_for_all(tmp_path: Path) -> None:
    refused(Place(tmp_path), ["--seeds=-1"], "--seeds '-1'", "whole numbers")


def crf_folder(tmp_path: Path) -> None:
    place = Place(tmp_path)
    text = place.probe.read_text()
    changed = text.replace('"gain": 1.0', '"gain": 1.0, "la_crf_dir": ""')
    place.probe.write_text(changed)
    words = ["--cfg-options", "localize.la_crf_dir=voc12/la_crf"]
    refused(place, words, "localize.la_crf_dir", "does not exist")


KIND = "plan"

CASES: list[FieldCase] = [
    FieldCase(
        KIND,
        "`NUM_WORKERS: 0`, a data loader's way to say none besides this process",
        "refused: at least 1",
        no_workers,
        "kazuto1011/deeplab-pytorch",
    ),
    FieldCase(
        KIND,
        "the path of a list, `voc12/train_aug.txt`, where a split's name belongs",
        "refused: no such split, the flag, and those that there are",
        list_as_a_path,
        "jiwoon-ahn/irn",
    ),
    FieldCase(
        KIND,
        "`test` as the split that is scored",
        "refused before the first stage: its masks are not public",
        test_as_val,
        "kazuto1011/deeplab-pytorch",
    ),
    FieldCase(
        KIND,
        "a devkit without the val list, of which seeds alone were ever scored",
        "refused before the first stage: the role and its flag are named",
        no_val_list,
    ),
    FieldCase(
        KIND,
        "the address of weights, which `--finetune https://…` would fetch",
        "refused: no file",
        weights_by_address,
        "xulianuwa/MCTformer",
    ),
    FieldCase(
        KIND,
        "`--weights` of MXNet (`.params`) that were not fetched",
        "refused: no file; the names that are known",
        weights_of_mxnet,
        "jiwoon-ahn/psa",
    ),
    FieldCase(
        KIND,
        "`sess/res50_cam.pth`, which an earlier script was to leave",
        "refused: stage, parameter and file are named",
        weights_of_an_earlier_step,
        "jiwoon-ahn/irn",
    ),
    FieldCase(
        KIND,
        "`0,1,2,3` as the device, as `CUDA_VISIBLE_DEVICES` has it",
        "refused: how a device is named",
        gpu_by_number,
        "jbeomlee93/AdvCAM",
    ),
    FieldCase(
        KIND,
        "a session's name with a slash as the name of the data",
        "refused: what a name may hold",
        session_name,
        "jiwoon-ahn/irn",
    ),
    FieldCase(
        KIND,
        "`result/cam` as the work dir, where `result` is a file",
        "refused before the first stage",
        result_folder_below_a_file,
        "jiwoon-ahn/irn",
    ),
    FieldCase(
        KIND,
        "val masks without the border, as the augmented ones are",
        "a warning before the first stage: numbers do not compare with published ones",
        augmented_masks_alone,
        "kazuto1011/deeplab-pytorch",
    ),
    FieldCase(
        KIND,
        "a val list whose photographs are not there",
        "refused before any photograph is read: the first, and how many more",
        photographs_of_another_release,
    ),
    FieldCase(
        KIND,
        "seed -1, by which other frameworks mean any",
        "refused: whole numbers from 0",
        one_seed_for_all,
    ),
    FieldCase(
        KIND,
        "the folder `voc12/la_crf` of an earlier step, not there",
        "refused: stage, parameter and folder are named",
        crf_folder,
    ),
]
