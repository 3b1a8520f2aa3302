from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from whenwhere.cli import COMMANDS, main
from whenwhere.datasets.manifest import write_clips
from whenwhere.explain import FILES
from whenwhere.features.backbone import Backbone, BackboneOptions
from whenwhere.structures import Clip, Explanation, Segment
from whenwhere.training.checkpoint import load_model
from whenwhere.video import write_video


def read_config(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "config.yaml").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained through the command line on a folder per class of real files, one of them broken."""
    folder = tmp_path_factory.mktemp("data")
    for index in range(12):
        label = "bright" if index % 2 else "dark"
        (folder / label).mkdir(exist_ok=True)
        shade = 200 if index % 2 else 30
        frames = (np.full((48, 64, 3), shade + index, dtype=np.uint8) for _ in range(10))
        write_video(folder / label / f"{index}.mp4", frames, 10.0)
    (folder / "dark" / "broken.mp4").write_bytes(b"no video")
    out = tmp_path_factory.mktemp("runs") / "mine"
    status = main(
        ["train", "--data.path", str(folder), "--data.frames", "4", "--backbone.name", "test_resnet",
         "--backbone.weights", "random", "--backbone.size", "64", "--model.hidden", "8", "--model.steps", "2",
         "--fit.epochs", "2", "--out", str(out)]
    )  # fmt: skip
    assert status == 0
    return out


def heavy_imports(*arguments: str, status: int = 0) -> set[str]:
    code = (
        "import sys; sys.argv = ['whenwhere', *sys.argv[1:]]\n"
        f"from whenwhere.cli import main\nassert main() == {status}\n"
        "print('MODULES', *{name.split('.')[0] for name in sys.modules})"
    )
    output = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout
    return set(output.rsplit("MODULES", 1)[1].split())


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--version",)])
def test_help_comes_without_heavy_imports(arguments: tuple[str, ...]) -> None:
    assert not heavy_imports(*arguments) & {"torch", "numpy", "matplotlib", "av", "timm", "jsonargparse"}


def test_scoring_when_does_without_torch(tmp_path: Path) -> None:
    arguments = ["score", str(tmp_path / "none.json"), "--truth", "none", "--protocol", "thumos14-2015"]
    assert not heavy_imports(*arguments, status=1) & {"torch", "av", "timm"}


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said and text in said for name, (_, text) in COMMANDS.items())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"usage: whenwhere {command}" in capsys.readouterr().out


def test_train_help_documents_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    options = capsys.readouterr().out.split("options:", 1)[1]
    entries = [entry for entry in options.split("\n  --")[1:] if "CONFIG" not in entry.split("\n")[0]]
    assert len(entries) > 40
    undocumented = [entry.split()[0] for entry in entries if len(entry.split("(type:")[0].split()) < 4]
    assert not undocumented


def test_unknown_command_lists_the_valid_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explode"]) == 2
    assert "train" in capsys.readouterr().err


def test_training_leaves_a_run_and_reports_the_broken_clip(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert {"config.yaml", "model.safetensors", "state.pt", "metrics.csv", "tensorboard"} <= names
    record = json.loads(next(run.glob("metrics_*.json")).read_text())
    assert record["broken"] == 1


def test_training_into_a_used_folder_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "model.safetensors").read_bytes()
    assert main(["train", "--config", str(run / "config.yaml"), "--out", str(run)]) == 1
    assert "--resume" in capsys.readouterr().err
    assert (run / "model.safetensors").read_bytes() == before


def test_a_resumption_that_is_refused_leaves_the_recipe_of_the_run(
    tiny_bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--data.source", "feature_bank", "--data.path", str(tiny_bank), "--data.mosaic.frames", "8",
               "--data.mosaic.action_frames", "[2,4]", "--data.mosaic.clips", "8", "--data.mosaic.eval_clips", "8",
               "--method", "frame_average", "--fit.epochs", "1", "--unmeasured", "--out", str(tmp_path)]  # fmt: skip
    assert main(command) == 0
    before = (tmp_path / "config.yaml").read_text()
    assert main([*command, "--resume", "--fit.lr", "0.5"]) == 1
    assert f"resume with {tmp_path / 'config.yaml'}" in capsys.readouterr().err
    assert (tmp_path / "config.yaml").read_text() == before
    assert main(["train", "--config", str(tmp_path / "config.yaml"), *command[-3:], "--resume"]) == 0


def test_evaluate_prints_controls(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--model", str(run)]) == 0
    said = capsys.readouterr().out
    assert "accuracy" in said
    assert "chance 0.500" in said
    assert main(["evaluate", "--model", str(run), "--clips", "2", "--average", "logits"]) == 0
    assert "chance 0.500" in capsys.readouterr().out


def test_explain_goes_on_past_a_bad_file_and_says_so(run: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    write_video(videos / "good.mp4", (np.full((48, 64, 3), 220, dtype=np.uint8) for _ in range(10)), 10.0)
    (videos / "bad.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    assert main(["explain", str(videos), "--model", str(run), "--out", str(out)]) == 1
    files = {path.name for path in (out / "good").iterdir()}
    assert files == {"explanation.json", "overlay.mp4", "filmstrip.png", "thumbnail.jpg", "report.html"} == set(FILES)
    assert Explanation.load(out / "good" / "explanation.json").width == 64
    assert not (out / "bad").exists()
    index = (out / "index.html").read_text()
    assert "good/report.html" in index
    assert "bad.mp4" in index
    assert "data:image/jpeg" in index
    again = ["explain", str(videos / "g*.mp4"), "--model", str(run), "--out", str(tmp_path / "again")]
    assert main([*again, "--window", "0.5", "--overlap", "0.5"]) == 0
    windowed = Explanation.load(tmp_path / "again" / "good" / "explanation.json")
    assert len(windowed.times) > len(Explanation.load(out / "good" / "explanation.json").times)


def test_explain_compares_and_leaves_beside_the_page_what_is_too_large(run: Path, tmp_path: Path) -> None:
    clip, out = tmp_path / "clip.mp4", tmp_path / "out"
    write_video(clip, (np.full((48, 64, 3), 220, dtype=np.uint8) for _ in range(10)), 10.0)
    arguments = ["explain", str(clip), "--model", str(run), "--out", str(out), "--compare", str(run)]
    truth = write_clips([Clip(str(clip), "a", segments=(Segment(0.2, 0.6, "a"),))], tmp_path / "truth.csv")
    assert main([*arguments, "--grad_cam", "--inline_limit", "0.0001", "--truth", str(truth)]) == 0
    files = {path.name for path in (out / "clip").iterdir()}
    assert files == {*FILES, "explanation_2.json", "explanation_3.json", "report.mp4"}
    first, cam, other = (Explanation.load(out / "clip" / f"explanation{i}.json") for i in ("", "_2", "_3"))
    assert cam.model == f"{first.model}, Grad-CAM"
    assert other.to_dict() == first.to_dict()
    page = (out / "clip" / "report.html").read_text()
    assert 'src="report.mp4"' in page
    assert '"truth":[{"start":0.2,"end":0.6' in page
    assert cam.model in page
    assert 'src="clip/thumbnail.jpg"' in (out / "index.html").read_text()


@pytest.mark.parametrize(
    "option, value", [("--window", "-1"), ("--window", "0"), ("--overlap", "1"), ("--inline_limit", "-1")]
)
def test_windows_that_cannot_be_end_in_a_sentence(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["explain", "x.mp4", "--model", str(tmp_path), "--out", str(tmp_path / "o"), option, value])
    assert stop.value.code == 2
    assert f"{option} must be" in capsys.readouterr().err


def test_user_mistakes_end_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data.path", str(tmp_path / "nowhere"), "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "no such data" in said
    assert "Traceback" not in said
    assert main(["explain", "x.mp4", "--model", str(tmp_path), "--out", str(tmp_path / "o")]) == 1


def test_prepare_features_and_inspect_a_folder(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    data = Path(read_config(run)["data"]["path"])
    manifest = tmp_path / "clips.csv"
    assert main(["prepare", "folder", "--root", str(data), "--out", str(manifest)]) == 0
    said = capsys.readouterr()
    assert "no split: 13 clips" in said.err
    assert said.out.strip() == str(manifest)
    assert main(["data", "inspect", str(manifest), "--workers", "1"]) == 1  # one clip is broken
    out = capsys.readouterr().out
    assert "13 clips" in out
    assert "12 clips last 1.0 to 1.0 s" in out
    assert "1 broken clips" in out
    assert "broken.mp4" in out
    assert (tmp_path / "contact_sheet.png").is_file()
    store = ["features", "--data", str(manifest), "--out", str(tmp_path / "store"), "--frames", "2"]
    store += ["--backbone.name", "test_resnet", "--backbone.weights", "random", "--backbone.size", "64"]
    assert main([*store, "--verify"]) == 1
    assert "nothing to check: " in capsys.readouterr().err
    assert main([*store, "--shard", "13/14"]) == 0
    assert "no clips in shard 13/14" in capsys.readouterr().err
    assert main([*store, "--shard", "0/2"]) == 0
    assert main([*store, "--shard", "1/2"]) == 0
    assert "broken.mp4" in capsys.readouterr().err
    assert main([*store, "--verify"]) == 0
    assert "12 entries checked, 0 damaged" in capsys.readouterr().err
    assert main([*store, "--verify", "--frames", "3"]) == 1
    assert "holds no features of this backbone, modality, sampling" in capsys.readouterr().err
    (part,) = (tmp_path / "store").rglob("part-*.data")
    content = bytearray(part.read_bytes())
    content[3] ^= 1
    part.write_bytes(content)
    assert main([*store, "--verify"]) == 1
    said = capsys.readouterr().err
    assert "12 entries checked, 1 damaged" in said
    assert f"delete {part} and {part.stem}.jsonl beside it" in said
    part.unlink()
    part.with_suffix(".jsonl").unlink()
    assert main(store) == 0
    assert main([*store, "--verify"]) == 0


def test_mistakes_in_data_end_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "ucf101", "--root", str(tmp_path)]) == 1
    assert "split lists; expected ucfTrainTestlist" in capsys.readouterr().err
    (tmp_path / "clips.csv").write_text("path,label\na.mp4,run\n")
    features = ["features", "--data", str(tmp_path / "clips.csv"), "--out", str(tmp_path / "store"), "--shard", "2/2"]
    assert main([*features, "--backbone.name", "test_resnet", "--backbone.weights", "random"]) == 1
    assert "--shard must be I/N with 0 <= I < N, got '2/2'" in capsys.readouterr().err


def test_finetuned_backbone_is_read_again(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = read_config(run)["data"]["path"]
    out = tmp_path / "tuned"
    backbone = ["--backbone.name", "test_resnet", "--backbone.size", "64"]
    small = ["--data.path", data, "--data.frames", "2", *backbone]
    status = main(
        ["finetune", *small, "--backbone.weights", "random", "--fit.epochs", "1", "--fit.lr", "0.01", "--out", str(out)]
    )
    assert status == 0
    weights = out / "backbone.safetensors"
    assert str(weights) in capsys.readouterr().err
    tuned, random = (
        Backbone(BackboneOptions(name="test_resnet", weights=source, size=64)) for source in (str(weights), "random")
    )
    assert tuned.preprocessing == random.preprocessing
    assert tuned.identity != random.identity
    assert tuned.identity == load_model(out)[0].backbone.identity
    kept = load_model(out)[0].backbone
    frames = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(tuned.eval()(frames), kept.eval()(frames))
    head = ["--model.hidden", "8", "--model.steps", "2", "--fit.epochs", "1", "--out", str(tmp_path / "head")]
    assert main(["train", *small, "--backbone.weights", str(weights), *head]) == 0
