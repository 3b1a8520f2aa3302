from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from watching import frame_number, write_numbered

from whenwhere.benchmarks.watch import resident
from whenwhere.streaming import ClipOptions
from whenwhere.streaming.clips import ClipRecorder, PacketRing, StoredPacket
from whenwhere.video import iter_frames


def packet(time: float, key: bool, size: int = 10) -> StoredPacket:
    return StoredPacket(bytes(size), time, time, key)


def test_the_ring_begins_with_a_key_frame_and_holds_the_seconds_asked_for() -> None:
    ring = PacketRing(2.0, 10**6)
    for number in range(100):
        ring.add(packet(number / 10, number % 5 == 0))
        held = ring.since(-1)
        assert held[0].key
        assert held[-1].time == number / 10
        assert len(ring) <= 26  # two seconds, and the rest of a group
        if number >= 25:
            assert held[0].time <= number / 10 - 2.0 + 1e-9
    assert ring.since(9.2)[0].time == 9.0
    assert ring.since(99)[0].time == 9.5
    ring.clear()
    assert (len(ring), ring.bytes, ring.since(0)) == (0, 0, [])


def test_the_ring_never_holds_more_bytes_than_allowed() -> None:
    generator = np.random.default_rng(0)
    ring = PacketRing(1e9, 1000)
    for number in range(500):
        ring.add(packet(number / 10, bool(generator.random() < 0.1), int(generator.integers(1, 300))))
        held = ring.since(-1)
        assert ring.bytes <= 1000
        assert sum(len(p.data) for p in held) <= ring.bytes
        assert not held or held[0].key


def play(path: Path, recorder: ClipRecorder, asked: list[tuple[float, Any]]) -> None:
    """Give a file's packets to a recorder, and call what is asked for once their time has come."""
    asked = list(asked)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        recorder.connect(stream)
        for each in container.demux(stream):
            if each.size:
                base = float(each.time_base)
                recorder.add(StoredPacket(bytes(each), each.pts * base, each.dts * base, each.is_keyframe))
                while asked and each.dts * base >= asked[0][0]:
                    asked.pop(0)[1]()
        recorder.disconnect(whole=True)


def numbers(path: Path) -> list[int]:
    return [frame_number(image) for _, image in iter_frames(path)]


@pytest.mark.parametrize("codec, suffix", [("libx264", "mp4"), ("mjpeg", "avi")])
def test_a_clip_shows_its_event_with_a_margin(tmp_path: Path, codec: str, suffix: str) -> None:
    """H.264 is copied, from a key frame on; motion JPEG, as cameras send it, is encoded again."""
    source = write_numbered(tmp_path / f"source.{suffix}", 120, codec=codec)
    told: list[str] = []
    recorder = ClipRecorder(ClipOptions(tmp_path / "clips", before=1.0, after=1.0), late=3.0, log=told.append)
    path = tmp_path / "clips" / "a.mp4"
    play(source, recorder, [(5.5, lambda: recorder.begin(path, 4.5)), (8.0, lambda: recorder.end(path, 7.0))])
    shown = numbers(path)
    assert shown == list(range(shown[0], shown[0] + len(shown)))
    assert shown[0] == (30 if codec == "libx264" else 35)  # there a key frame every second
    assert 79 <= shown[-1] <= 86
    with av.open(str(path)) as clip:
        assert clip.streams.video[0].codec_context.name == "h264"
    assert told == []
    assert [file.name for file in (tmp_path / "clips").iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("codec, suffix", [("libx264", "mp4"), ("mpeg4", "avi"), ("mjpeg", "avi")])
def test_a_stream_that_stops_anywhere_leaves_no_gap(tmp_path: Path, codec: str, suffix: str) -> None:
    """Pictures that are shown later come before those they frame: ``I0 P4 B1 B2 B3``."""
    source = write_numbered(tmp_path / f"source.{suffix}", 24, codec=codec)
    lengths = []
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        packets = [each for each in container.demux(stream) if each.size]
        order = [each.pts for each in packets]
        assert (order != sorted(order)) == (codec == "libx264")
        for count in range(6, len(packets) + 1):
            recorder = ClipRecorder(ClipOptions(tmp_path / "clips"), late=3.0, log=pytest.fail)
            recorder.connect(stream)
            recorder.begin(path := tmp_path / "clips" / f"{count}.mp4", 0.0)
            for each in packets[:count]:
                base = float(each.time_base)
                recorder.add(StoredPacket(bytes(each), each.pts * base, each.dts * base, each.is_keyframe))
            recorder.disconnect(whole=count == len(packets))
            shown = numbers(path)
            assert shown == list(range(len(shown)))
            assert len(shown) >= count - 6
            lengths.append(len(shown))
    assert lengths[-1] == 24


def test_clips_may_overlap_and_a_long_one_is_cut_off(tmp_path: Path) -> None:
    source = write_numbered(tmp_path / "source.mp4", 120)
    options = ClipOptions(tmp_path, before=1.0, after=1.0, longest=4.0)
    recorder = ClipRecorder(options, late=3.0, log=pytest.fail)
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    play(
        source,
        recorder,
        [
            (3.0, lambda: recorder.begin(first, 2.0)),
            (4.0, lambda: recorder.end(first, 4.0)),
            (4.5, lambda: recorder.begin(second, 4.0)),  # never ended
            (9.5, lambda: None),
        ],
    )
    assert numbers(first)[0] == 10
    assert 49 <= numbers(first)[-1] <= 56
    assert numbers(second)[0] == 30
    assert 69 <= numbers(second)[-1] <= 76


def test_the_end_of_the_source_finishes_a_clip(tmp_path: Path) -> None:
    source = write_numbered(tmp_path / "source.mp4", 50)
    recorder = ClipRecorder(ClipOptions(tmp_path / "clips"), late=9.0, log=pytest.fail)
    path = tmp_path / "clips" / "a.mp4"
    play(source, recorder, [(4.6, lambda: recorder.begin(path, 4.0))])
    assert numbers(path) == list(range(20, 50))


def test_a_clip_that_cannot_be_written_leaves_nothing_and_is_told(tmp_path: Path) -> None:
    source = write_numbered(tmp_path / "source.mp4", 60)
    told: list[str] = []
    recorder = ClipRecorder(ClipOptions(tmp_path / "clips"), late=9.0, log=told.append)
    nowhere, good = tmp_path / "gone" / "a.mp4", tmp_path / "clips" / "b.mp4"
    play(source, recorder, [(2.0, lambda: recorder.begin(nowhere, 1.0)), (2.5, lambda: recorder.begin(good, 1.0))])
    assert len(told) == 1
    assert "a.mp4: this clip cannot be written" in told[0]
    assert [file.name for file in (tmp_path / "clips").iterdir()] == ["b.mp4"]
    assert not nowhere.parent.exists()
    recorder.begin(tmp_path / "clips" / "late.mp4", 1.0)
    recorder.disconnect()  # the packets are gone
    assert "nothing of it was kept" in told[1]
    assert [file.name for file in (tmp_path / "clips").iterdir()] == ["b.mp4"]


@pytest.mark.slow
def test_opening_and_writing_again_and_again_takes_no_memory(tmp_path: Path) -> None:
    """A looped clip is opened thousands of times a day."""
    source = write_numbered(tmp_path / "source.mp4", 10)
    recorder = ClipRecorder(ClipOptions(tmp_path / "clips"), late=9.0, log=pytest.fail)
    path = tmp_path / "clips" / "a.mp4"
    held = []
    for turn in range(301):
        play(source, recorder, [(0.5, lambda: recorder.begin(path, 0.4))])
        if turn % 100 == 0:
            held.append(resident())
    assert held[-1] - held[1] < 2
