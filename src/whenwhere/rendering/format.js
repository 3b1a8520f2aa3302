"use strict";

/** How numbers are written, and small arithmetic that every part of the page needs. */
const format = {
  seconds: (value, digits = 1) => `${value.toFixed(digits)} s`,
  percent: (value) => `${Math.round(100 * value)} %`,

  /** A time in the video: seconds, or minutes (and hours) where the video is long. */
  time(value, duration, digits = 1) {
    if (duration < 120) return format.seconds(value, digits);
    const whole = Math.floor(value);
    const two = (number) => String(number).padStart(2, "0");
    const rest = digits ? (value - whole).toFixed(digits).slice(1) : "";
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(whole % 60)}${rest}`;
  },

  /** A stretch of time, such as "0.9–1.5 s". */
  span(start, end, duration) {
    const first = duration < 120 ? start.toFixed(1) : format.time(start, duration);
    return `${first}–${format.time(end, duration)}`;
  },
};

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Index of the last of the increasing `times` at or before `time`; 0 before the first. */
function indexBefore(times, time) {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (times[middle] <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
