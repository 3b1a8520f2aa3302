"""A stream that is sent three times as fast as this machine can decode it."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from http.server import BaseHTTPRequestHandler
from itertools import count, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from senders import Reply, http, jpeg, motion_jpeg

from whenwhere.recognizer import Recognizer
from whenwhere.streaming import ClipOptions, EventOptions, ReportedEvent, Source, SourceOptions, WatchOptions, watch
from whenwhere.streaming.opening import open_source
from whenwhere.streaming.reading import Reader

WIDTH, HEIGHT, GROUP, CLIP = 3840, 2160, 10, 20


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty large pictures of squares that move up, a key frame every ten."""
    generator = np.random.default_rng(0)
    squares = generator.integers(60, 200, (HEIGHT // 8 + 8, WIDTH // 8), dtype=np.uint8)
    drawn = np.kron(squares, np.ones((8, 8), np.uint8))
    path = tmp_path_factory.mktemp("large") / "large.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = GROUP
        # Small for the work of decoding it: a ring of packets has room for seconds of it, however fast the machine.
        stream.codec_context.options = {"preset": "veryfast", "crf": "40", "sc_threshold": "0", "bf": "0"}
        for number in range(CLIP):
            gray = np.ascontiguousarray(drawn[3 * number : 3 * number + HEIGHT])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="gray").reformat(format="yuv420p")))
        out.mux(stream.encode(None))
    return path


def decoding_rate(path: Path) -> float:
    """Frames a second that one core decodes, at best: what else the machine does makes it look slower."""

    def once() -> float:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "SLICE"
            start = time.monotonic()
            return sum(1 for _ in container.decode(video=0)) / (time.monotonic() - start)

    return max(once() for _ in range(8))


def sender(clip: Path, rate: float, begun: list[float]) -> Reply:
    """The clip for ever, ``rate`` frames a second, by the clock and by its timestamps."""
    with av.open(str(clip)) as container:
        packets = [(bytes(packet), packet.is_keyframe) for packet in container.demux(video=0) if packet.size]

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "video/mp2t")
        request.end_headers()
        begun.append(time.monotonic())
        with av.open(str(clip)) as template, av.open(request.wfile, "w", format="mpegts") as out:
            stream = out.add_stream_from_template(template.streams.video[0])
            for number in count():
                time.sleep(max(0.0, begun[-1] + number / rate - time.monotonic()))
                data, key = packets[number % CLIP]
                packet = av.Packet(data)
                packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 90000), key
                packet.pts = packet.dts = round(90000 * number / rate)
                out.mux_one(packet)

    return reply


@pytest.mark.slow
def test_what_cannot_be_decoded_in_time_is_left_out_and_clips_are_whole(
    model: Recognizer, large: Path, tmp_path: Path
) -> None:
    rate, seconds = 3 * decoding_rate(large), 12.0
    begun: list[float] = []
    logged: list[str] = []
    told: list[ReportedEvent] = []
    options = WatchOptions(
        window=1.0,
        rate=5,
        events=EventOptions(start=0.01, end=0.01, shortest=0.3),  # the model has no skill
        clips=ClipOptions(tmp_path / "clips", before=0.0, after=0.0, longest=4.0, most_bytes=2**30),
    )
    lags = []
    with http(sender(large, rate, begun)) as address:
        watcher = watch(address, model, options, told.append, logged.append)
        guard = threading.Timer(60, watcher.stop)
        guard.start()
        for answer in watcher:
            lags.append(time.monotonic() - begun[0] - answer.time)
            if lags[-1] + answer.time > seconds:
                break
        guard.cancel()
    statistics = watcher.statistics
    assert len(begun) == 1
    assert statistics.skipped > statistics.decoded / 2
    assert f"{statistics.skipped} more frames were not decoded" in statistics.summary()
    assert [text for text in logged if "left out" in text] == logged
    assert len(logged) == 1
    # Who decodes all of it is two thirds of the time behind at the end.
    assert max(lags) < seconds / 3
    (event,) = told
    assert event.clip is not None
    with av.open(str(event.clip)) as clip:
        shown = sorted(packet.pts * packet.time_base for packet in clip.demux(video=0) if packet.size)
    assert shown[-1] > 3.0
    assert [float(later - earlier) for earlier, later in pairwise(shown)] == pytest.approx(
        [1 / rate] * (len(shown) - 1), abs=0.2 / rate
    )


@pytest.mark.slow
def test_a_clip_that_has_to_be_encoded_does_not_make_it_fall_behind(
    model: Recognizer, large: Path, tmp_path: Path
) -> None:
    """Motion JPEG comes somewhat more slowly than it can be decoded; encoding a clip besides takes too long."""
    with av.open(str(large)) as container:
        pictures = [jpeg(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    film = tmp_path / "film.mjpeg"
    film.write_bytes(b"".join(pictures))
    seconds = 12.0
    sent: list[float] = []
    options = WatchOptions(
        window=1.0,
        rate=5,
        events=EventOptions(start=0.01, end=0.01, shortest=0.3),  # the model has no skill
        clips=ClipOptions(tmp_path / "clips", before=0.0, after=0.0, longest=60.0),
    )
    latencies = []
    with http(motion_jpeg(0.8 * decoding_rate(film), sent, pictures)) as address:
        watcher = watch(address, model, options)
        guard = threading.Timer(40, watcher.stop)
        guard.start()
        for answer in watcher:
            latencies.append(answer.latency)
            if time.time() - sent[0] > seconds:
                break
        took = time.time() - sent[0]
        guard.cancel()
    assert took < 2 * seconds  # answers went on
    assert watcher.statistics.skipped > 0
    assert max(latencies) < seconds / 3
    assert watcher.statistics.reconnections == 0


def test_frames_up_to_the_newest_key_frame_that_is_due_are_skipped(large: Path) -> None:
    with open_source(Source.parse(str(large)), SourceOptions()) as opened, Reader(opened) as reader:
        packets = reader.packets(threading.Event())
        arrived = next(packets)
        while len(reader._held) < CLIP - 1:  # it reads ahead
            time.sleep(0.01)
        assert arrived.packet.is_keyframe
        assert reader.skip(lambda each: False) is None
        skipped = reader.skip(lambda each: True)
        assert skipped is not None
        assert len(skipped) == GROUP - 1
        arrived = next(packets)
        assert arrived.packet.is_keyframe
        assert reader.skip(lambda each: True) is None
        assert len([each for each in packets if each.packet.size]) == CLIP - GROUP - 1
