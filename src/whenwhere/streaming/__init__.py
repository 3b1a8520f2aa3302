"""Live video: a window that slides over a camera, a stream or a file, and what happens in it."""

from whenwhere.streaming.answers import Answer, Statistics
from whenwhere.streaming.clips import ClipOptions
from whenwhere.streaming.events import Event, EventDetector, EventLog, EventOptions, ReportedEvent
from whenwhere.streaming.source import Source, SourceError, SourceOptions
from whenwhere.streaming.watcher import Watcher, WatchOptions, watch

__all__ = [
    "Answer",
    "ClipOptions",
    "Event",
    "EventDetector",
    "EventLog",
    "EventOptions",
    "ReportedEvent",
    "Source",
    "SourceError",
    "SourceOptions",
    "Statistics",
    "WatchOptions",
    "Watcher",
    "watch",
]
