"""How the application in the browser bears load: many people at once, a long table, a long CT, a thousand requests.

    python benchmarks/web_load.py FOLDER            # makes what it needs there (some minutes the first time)

A server of its own serves FOLDER. Printed are, each beside what is aimed at:

* 8 people (HTTP sessions) and a browser at once on one study: waiting times, errors;
* every page of the browser, until its content is there;
* a table of 10,000 patients in the Cohort screen: page, and the judgement of a change;
* a CT of 512 x 512 x 600 voxels (DICOM) in the viewer: first slice, turning, opened again;
* memory of the server before and after 1,000 requests;
* from a slider to the risk.

Chromium is needed (``make test-web`` installs it).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import write_volume
from hepacast.study.edit import edit_study
from hepacast.study.propose import init_from_table
from hepacast.study.run import run_study
from hepacast.web.places import Places

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS.parent), str(TESTS / "imaging")]

PEOPLE, REQUESTS, SLICES, PATIENTS, LOOKED = 8, 1000, 600, 10_000, 10
FAST = {"modelling.validation": {"folds": 3, "repeats": 1, "bootstrap": 10}}


def make_small(folder: Path) -> None:
    """A finished study of a table."""
    from tests.web.test_cohort import TABLE

    folder.mkdir(parents=True)
    (folder / "t.csv").write_text(TABLE)
    init_from_table(folder, folder / "t.csv")
    path = folder / "study.yaml"
    path.write_text(edit_study(path.read_text(), FAST | {"name": "Small"}))
    run_study(folder, workers=1)


def make_long_table(folder: Path) -> None:
    """A study of 10,000 patients with twelve columns, set up and not run."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    numbers = np.round(rng.normal(40, 5, (PATIENTS, 8)), 1)
    heads = ["Albumin (g/L)", "Bilirubin (umol/L)", "AFP (ng/mL)", "Age", "Platelets (10^9/L)", "INR", "ALT", "AST"]
    numbers[:, 5] = np.round(numbers[:, 5] / 40, 2)
    numbers[:, 4] *= 4
    lines = [",".join(["patient", *heads, "Sex", "Center", "death"])]
    for number, row in enumerate(numbers):
        words = [f"P{number:05}", *map(str, row), "MF"[number % 2], "AB"[number % 3 == 0], str(int(rng.random() < 0.3))]
        lines.append(",".join(words))
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    init_from_table(folder, folder / "t.csv")
    path = folder / "study.yaml"
    path.write_text(edit_study(path.read_text(), {"name": "Long table"}))


def make_long_scan(folder: Path) -> None:
    """24 patients with masks, the first with a CT of 600 slices as DICOM."""
    from dicom_volume import write_volume_as_dicom
    from tests.web import small_images

    small_images.make(folder)
    path = folder / "study.yaml"
    path.write_text(path.read_text().replace("images/{patient}.nii.gz", "images/{patient}").replace("Small", "Long"))
    for number, patient in enumerate(small_images.PATIENTS, start=1):
        image, mask = small_images.body(number)
        (folder / "images" / f"{patient}.nii.gz").unlink()
        geometry = small_images.GEOMETRY
        if number == 1:
            image, mask = (np.kron(item, np.ones((SLICES // 20, 8, 8), item.dtype)) for item in (image, mask))
            image += np.random.default_rng(2).integers(-9, 9, image.shape, dtype=np.int16)
            np.maximum(image, -1024, out=image)  # a scanner stores nothing below
            geometry = Geometry((512, 512, SLICES), (0.625, 0.625, 0.5), geometry.origin)
            write_volume(Volume(mask, geometry), folder / "masks" / f"{patient}.nii.gz")
        write_volume_as_dicom(folder / "images" / patient, Volume(image, geometry))
    run_study(folder, until="segmentation", workers=1)


def prepare(folder: Path) -> None:
    """Make what is not there yet."""
    for name, make in (("small", make_small), ("long-table", make_long_table), ("long-scan", make_long_scan)):
        if not (folder / name / ".made").is_file():
            shutil.rmtree(folder / name, ignore_errors=True)
            make(folder / name)
            (folder / name / ".made").touch()
    shutil.copy(TESTS / "bundle" / "old" / "2313617" / "clinical.hepacast", folder / "nomogram.hepacast")


class Server:
    """`hepacast serve` of a folder as a process."""

    def __init__(self, folder: Path) -> None:
        words = [sys.executable, "-m", "hepacast.cli.main", "serve", str(folder), "--no-browser", "--port", "0"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.tokens: list[str] = []
        self.ready = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        self.url, self.first = self._address()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "#token=" in line:
                with self.ready:
                    self.tokens.append(line.strip().split()[-1])
                    self.ready.notify()

    def _address(self) -> tuple[str, str]:
        with self.ready:
            while not self.tokens:
                self.ready.wait(60)
            address = self.tokens.pop()
        return address.split("#")[0], address

    def client(self) -> httpx.Client:
        """A person: a session with a token of its own."""
        origin = self.url.rstrip("/")
        headers = {"origin": origin, "sec-fetch-site": "same-origin"}
        client = httpx.Client(base_url=origin, headers=headers, timeout=120, trust_env=False)
        token = self.first.split("token=")[1]
        client.post("/api/enter", json={"token": token}).raise_for_status()
        _, self.first = self._address()
        return client

    def memory(self) -> float:
        """Resident MB of the server."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    def cpu(self) -> float:
        """CPU seconds of the server so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)


def ask(client: httpx.Client, path: str, times: list[float], errors: list[str]) -> httpx.Response:
    """One request, timed."""
    began = time.monotonic()
    answer = client.get(path)
    times.append(time.monotonic() - began)
    if answer.status_code != 200:
        errors.append(f"{answer.status_code} {path}")
    return answer


def of_study(code: str, masks: str, patients: list[str]) -> list[str]:
    """What somebody who works on a study asks for."""
    base, scans = f"/api/studies/{code}", f"/api/studies/{masks}/masks"
    paths = ["/api/studies", f"{base}/cohort", f"{base}/plan", f"{base}/progress", f"{base}/report"]
    paths += [f"{base}/report/report.html", "/api/models", scans]
    return [*paths, *(f"{scans}/{one}" for one in patients), *(f"{scans}/{one}/image/0/16" for one in patients)]


def crowd(server: Server, paths: list[str], browse: Any) -> None:
    """Eight people and a browser at once."""
    times: list[float] = []
    errors: list[str] = []
    clients = [server.client() for _ in range(PEOPLE)]

    def work(client: httpx.Client) -> None:
        for _ in range(3):
            for path in paths:
                ask(client, path, times, errors)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    began, before = time.monotonic(), server.cpu()
    for thread in threads:
        thread.start()
    pages = browse()
    for thread in threads:
        thread.join()
    lasted, used = time.monotonic() - began, server.cpu() - before
    times.sort()
    told = f"median {1000 * statistics.median(times):.0f} ms, 95 % below {1000 * times[int(0.95 * len(times))]:.0f} ms"
    print(f"{PEOPLE} people: {len(times)} requests in {lasted:.1f} s ({used:.1f} CPU s), {told}, {len(errors)} errors")
    print(f"  the browser meanwhile: slowest page {max(pages.values()):.2f} s ({max(pages, key=pages.__getitem__)})")
    for text in sorted(set(errors)):
        print("  ", text)


def flat(server: Server, paths: list[str]) -> None:
    """Memory over a thousand requests."""
    client, times, errors = server.client(), [], []
    for number in range(100):
        ask(client, paths[number % len(paths)], times, errors)
    seen = [server.memory()]
    for number in range(REQUESTS):
        ask(client, paths[number % len(paths)], times, errors)
        if number % 250 == 249:
            seen.append(server.memory())
    shown = ", ".join(f"{item:.0f}" for item in seen)
    print(f"memory of the server over {REQUESTS} requests: {shown} MB (aim: flat), {len(errors)} errors")


@contextmanager
def browser(server: Server) -> Iterator[Any]:
    """A page whose owner has entered."""
    from playwright.sync_api import sync_playwright
    from tests.web.conftest import ARGUMENTS

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = opened.new_page(locale="en-US", viewport={"width": 1280, "height": 900})
        page.set_default_timeout(300_000)
        page.goto(server.first)
        page.wait_for_selector("nav a")
        _, server.first = server._address()
        yield page
        opened.close()


def opened(page: Any, place: str, wanted: str = "main:not([aria-busy])") -> float:
    """Seconds until a place of the page is there."""
    page.evaluate("() => { location.hash = '#/'; }")
    page.wait_for_selector("main:not([aria-busy])")
    began = time.monotonic()
    page.evaluate("(place) => { location.hash = `#/${place}`; }", place)
    page.wait_for_selector("main[aria-busy], main:not([aria-busy]) h1")
    page.wait_for_selector(wanted)
    return time.monotonic() - began


def pages_of(page: Any, code: str, masks: str) -> dict[str, float]:
    """Every page, the second time (the first compiles what the server imports late)."""
    places = ["start", "patient", "statistics", "node", "settings", f"study/{masks}/masks"]
    places += [f"study/{code}/{name}" for name in ("cohort", "run", "report")]
    for place in places:
        opened(page, place)
    return {place: opened(page, place) for place in places}


def long_table(page: Any, server: Server, code: str) -> None:
    """The Cohort screen of 10,000 patients."""
    first = opened(page, f"study/{code}/cohort", "table.setup")
    again = opened(page, f"study/{code}/cohort", "table.setup")
    client = server.client()
    version = client.get(f"/api/studies/{code}/cohort").json()["version"]
    began = time.monotonic()
    body = {"version": version, "changes": {"cohort.split": {"by": "random", "validation_fraction": 0.3}}}
    client.post(f"/api/studies/{code}/judge", json=body).raise_for_status()
    judged = time.monotonic() - began
    print(f"{PATIENTS} patients: cohort opens in {first:.2f} s, again {again:.2f} s, a change judged in {judged:.2f} s")


def long_scan(server: Server, page: Any, code: str, patient: str) -> None:
    """The viewer with 600 slices: at once, again, and as a reviewer comes to it, from a list that was looked at."""
    place = f"study/{code}/masks/{patient}"
    first, again = (opened(page, place, "canvas[aria-label]") for _ in range(2))
    while not page.evaluate("globalThis.hepacastViewer.complete === true"):
        time.sleep(0.05)
    lasted = page.evaluate(
        """() => { const viewer = globalThis.hepacastViewer, times = [];
        for (let k = 0; k < viewer.depth; k += 1) { viewer.slice = k; viewer.draw(); times.push(viewer.lasted); }
        return times; }"""
    )
    lasted.sort()
    print(
        f"{SLICES} slices: first slice after {first:.2f} s, opened again {again:.2f} s (aim 2); a slice "
        f"{statistics.median(lasted):.1f} ms, 95 % below {lasted[int(0.95 * len(lasted))]:.1f} ms (aim 20)"
    )
    print(f"  memory of the server then: {server.memory():.0f} MB")


def from_the_list(folder: Path, code: str, patient: str) -> None:
    """A server that was just started: the list for some seconds, then the patient at its head."""
    server = Server(folder)
    try:
        with browser(server) as page:
            opened(page, f"study/{code}/masks")
            time.sleep(LOOKED)
            lasted = opened(page, f"study/{code}/masks/{patient}", "canvas[aria-label]")
            print(f"{SLICES} slices after {LOOKED} s at the list: first slice after {lasted:.2f} s (aim 2)")
    finally:
        server.close()


def slider(page: Any, model: str) -> None:
    """From the slider to the risk in the page."""
    page.evaluate("(model) => { location.hash = `#/patient/${model}`; }", model)
    page.wait_for_selector("input[type=range]")
    page.click("text=Typical patient")
    lasted = page.evaluate(
        """() => { const one = document.querySelector("input[type=range]"), times = [];
        for (let i = 0; i < 50; i += 1) { const began = performance.now();
          one.value = Number(one.min) + (i / 50) * (Number(one.max) - Number(one.min));
          one.dispatchEvent(new Event("input", { bubbles: true })); times.push(performance.now() - began); }
        return times; }"""
    )
    print(f"slider to risk: median {statistics.median(lasted):.1f} ms, longest {max(lasted):.1f} ms (aim 50)")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder)
    places = Places(folder)
    small, table, scan = (places.code(folder / name) for name in ("small", "long-table", "long-scan"))
    server = Server(folder)
    try:
        client = server.client()
        rows = client.get(f"/api/studies/{scan}/masks").json()["patients"]
        codes = {row["patient"]: row["code"] for row in rows}
        paths = of_study(small, scan, [codes["P02"], codes["P03"]])
        with browser(server) as page:
            seconds = pages_of(page, small, scan)
            print("pages: " + ", ".join(f"{place.split('/')[-1]} {item:.2f}" for place, item in seconds.items()) + " s")
            models = client.get("/api/models").json()
            slider(page, next(item["code"] for item in models if item["place"] == "nomogram.hepacast"))
            crowd(server, paths, lambda: pages_of(page, small, scan))
            long_table(page, server, table)
            long_scan(server, page, scan, codes["P01"])
        flat(server, paths)
    finally:
        server.close()
    from_the_list(folder, scan, codes["P01"])


if __name__ == "__main__":
    main()
