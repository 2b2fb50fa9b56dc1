"""Video conversion by ffmpeg: a film is made, its parts are converted by the tasks of an array, a last job joins them.

    python3 video.py film --folder F --frames 600           # a test picture that moves
    python3 video.py convert --folder F --frames 600 --parts 4 --part 2
    python3 video.py join --folder F --frames 600 --parts 4

Frames are reported as iterations. Exit status 1 when ffmpeg fails or frames are missing at the end, 127 without ffmpeg.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from report import Progress, say

RATE = 25
"""Frames a second of the film."""
MISSING = 127


def part_of(frames: int, parts: int, part: int) -> tuple[int, int]:
    """First frame of a part and the first of the next; parts count from 1.

    >>> [part_of(10, 4, part) for part in (1, 2, 3, 4)]
    [(0, 2), (2, 5), (5, 7), (7, 10)]
    """
    return frames * (part - 1) // parts, frames * part // parts


def encode(frames: int, *arguments: str) -> None:
    """Run ffmpeg and report its frames. Raises CalledProcessError with what it complained of."""
    command = ["ffmpeg", "-nostdin", "-y", "-loglevel", "error", "-nostats", "-progress", "pipe:1", *arguments]
    progress = Progress(frames, unit="frames/s")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and running.stderr is not None  # noqa: S101 - both were asked for
        for line in running.stdout:
            name, _, value = line.strip().partition("=")
            if name == "frame" and value.isdigit():
                progress.step(min(int(value), frames))
        complaint = running.stderr.read()
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, "ffmpeg", stderr=complaint)


def frames_in(film: Path) -> int:
    """Frames of a file, counted by ffprobe."""
    told = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets", "-show_entries",
         "stream=nb_read_packets", "-of", "csv=p=0", str(film)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(told.stdout.strip().strip(","))


def work(given: argparse.Namespace) -> str:
    """Do one stage; what to say of it."""
    folder, frames = given.folder, given.frames
    if given.stage == "film":
        folder.mkdir(parents=True, exist_ok=True)
        source = f"testsrc=size={given.size}:rate={RATE}:duration={frames / RATE}"
        encode(frames, "-f", "lavfi", "-i", source, "-c:v", "mpeg4", "-q:v", "3", str(folder / "film.avi"))
        return f"made a film of {frames} frames"
    if given.stage == "convert":
        first, end = part_of(frames, given.parts, given.part)
        cut = f"trim=start_frame={first}:end_frame={end},setpts=PTS-STARTPTS"
        encode(end - first, "-threads", "1", "-i", str(folder / "film.avi"), "-vf", cut, "-c:v", "libx264", "-preset",
               "veryfast", "-threads", "1", str(folder / f"part{given.part}.mp4"))  # fmt: skip
        return f"converted part {given.part} of {given.parts}, {end - first} frames"
    parts = [folder / f"part{part}.mp4" for part in range(1, given.parts + 1)]
    (folder / "parts.txt").write_text("".join(f"file '{part}'\n" for part in parts))
    listed = ("-f", "concat", "-safe", "0", "-i", str(folder / "parts.txt"))
    encode(frames, *listed, "-c", "copy", str(folder / "film.mp4"))
    if (there := frames_in(folder / "film.mp4")) != frames:
        raise ValueError(f"the film has {there} frames after it was joined, not {frames}")
    for file in (folder / "film.avi", folder / "parts.txt", *parts):
        file.unlink()
    return f"joined {given.parts} parts to {folder / 'film.mp4'}: {frames} frames"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("stage", choices=("film", "convert", "join"))
    arguments.add_argument("--folder", type=Path, required=True, help="shared by all nodes")
    arguments.add_argument("--frames", type=int, default=600)
    arguments.add_argument("--size", default="640x360", help="of the picture")
    arguments.add_argument("--parts", type=int, default=4)
    arguments.add_argument("--part", type=int, default=int(os.environ.get("SLURM_ARRAY_TASK_ID", "1")))
    given = arguments.parse_args()
    if shutil.which("ffmpeg") is None:
        say(f'ERROR video: no ffmpeg on {os.uname().nodename}: software = ["ffmpeg"] in the blueprint brings it',
            severity="user.err")  # fmt: skip
        return MISSING
    try:
        say(f"video {work(given)}")
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "it said nothing").strip().splitlines()
        say(f"ERROR video: {error.cmd} failed at {given.stage}: {lines[-1]}", severity="user.err")
        return 1
    except (ValueError, OSError) as error:
        say(f"ERROR video: {error}", severity="user.err")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
