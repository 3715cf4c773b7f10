"""What people do in the browser, from a table to a report; `make test-web`.

With ``HEPACAST_SCREENSHOTS`` set, pictures of the screens are put into that folder.
"""

import http.server
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepacast.imaging import Volume
from hepacast.imaging.io import read_volume, write_volume
from hepacast.study.edit import edit_study, study_values
from hepacast.study.propose import init_from_table
from hepacast.study.reviews import read_reviews
from hepacast.study.run import run_study
from hepacast.web import jobs

from . import small_images
from .conftest import picture, until
from .test_cohort import TABLE

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "imaging"))
from dicom_volume import write_volume_as_dicom

pytestmark = pytest.mark.web
#: Milliseconds that a process may need on a busy machine.
SLOW = 600_000
FAST = {"modelling.validation": {"folds": 3, "repeats": 1, "bootstrap": 10}}
#: Every control without a name that a screen reader could say.
NAMELESS = """() => [...document.querySelectorAll(
    "a, button, input, select, textarea, canvas, iframe, progress, summary, [role=region]")]
  .filter((item) => item.offsetParent !== null && !item.closest("[hidden]"))
  .filter((item) => !item.getAttribute("aria-label") && !item.labels?.length && !item.textContent.trim())
  .filter((item) => !item.title && !item.getAttribute("alt"))
  .map((item) => item.outerHTML.slice(0, 120))"""


FAINT = Path(__file__).with_name("faint.js").read_text()


def fast_study(folder):
    """A table of 90 patients whose study ends in seconds."""
    folder.mkdir(parents=True)
    (folder / "t.csv").write_text(TABLE)
    init_from_table(folder, folder / "t.csv")
    path = folder / "study.yaml"
    path.write_text(edit_study(path.read_text(), FAST | {"name": "Decompensation"}))
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    folder = fast_study(tmp_path_factory.mktemp("finished") / "done")
    run_study(folder, workers=1)
    return folder


@pytest.fixture
def done(site, finished):
    """A finished study in the served folder."""
    target = site.places.folder / "done"
    shutil.copytree(finished, target)
    return target


@pytest.fixture
def images(site):
    folder = site.places.folder / "small"
    small_images.make(folder)
    run_study(folder, until="segmentation", workers=1)
    return folder


def test_journey_1_from_excel_and_dicom_to_a_checked_study(entered, site, tmp_path):
    scans = tmp_path / "scans"
    rows = []
    for number, patient in enumerate((f"P{i:02}" for i in range(1, 41)), start=1):
        rows.append((patient, 30 + number % 11, 20 + number % 30, "FM"[number % 2], int(number % 3 == 0)))
        image = small_images.body(number)[0][8:11, ::4, ::4]
        write_volume_as_dicom(scans / patient, Volume(image.copy(), small_images.coarse()))
    table = tmp_path / "patients.xlsx"
    pd.DataFrame(rows, columns=["Patient ID", "Albumin", "Age", "Sex", "death"]).to_excel(table, index=False)
    with entered() as page:
        page.set_input_files(".drop input[type=file] >> nth=0", table)
        page.wait_for_selector(".chosen:has-text('patients.xlsx')")
        page.set_input_files(".drop input[type=file] >> nth=1", scans)
        until(lambda: page.locator(".chosen").nth(1).text_content().startswith("✓"))
        page.fill("input[maxlength='120']", "My cohort")
        picture(page, "start")
        page.click("text=Set up the study")
        page.wait_for_selector("table.setup", timeout=60_000)
        # What is proposed is corrected by drop-downs, and judged at once.
        row = page.locator("tr[data-column='alb'], tr[data-column='albumin']").first
        row.get_by_label("Unit: Albumin").select_option("g/dL")
        row.locator(".finding.error").first.wait_for()
        picture(page, "cohort-findings")
        row.get_by_label("Unit: Albumin").select_option("g/L")
        until(lambda: row.locator(".finding.error").count() == 0)
        page.get_by_label("Part in the study: Age").select_option("described")
        page.get_by_label("How the sets are made").select_option("random")
        until(lambda: page.locator(".flow .set").count() == 2)
        picture(page, "cohort")
        page.click("button.main:has-text('Save')")
        page.wait_for_selector("text=Saved as study.yaml")
    folder = site.places.folder / "MY-COHORT"
    by_hand, _ = init_from_table(folder / "hand", folder / "patients.xlsx", images=folder / "images")
    expected = study_values(by_hand.read_text().replace("../", ""))
    expected["name"] = "My cohort"
    expected["modelling"]["candidates"].remove("age")
    expected["cohort"]["split"] = {"by": "random", "validation_fraction": 0.3}
    written = study_values((folder / "study.yaml").read_text())
    alb = next(name for name in written["cohort"]["columns"] if name.startswith("alb"))
    expected["cohort"]["columns"][alb]["unit"] = "g/L"
    assert written == expected
    assert (folder / "images" / "scans" / "P01").is_dir() or (folder / "images" / "P01").is_dir()


def serving(folder):
    words = [sys.executable, "-m", "hepacast.cli.main", "serve", str(folder), "--no-browser", "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("http://"):
            return process, line.strip()
    raise AssertionError("it does not serve")


def test_journey_2_a_run_goes_on_without_tab_and_server(chromium, site):
    folder = fast_study(site.places.folder / "run")
    path = folder / "study.yaml"
    path.write_text(
        edit_study(path.read_text(), {"modelling.validation": {"folds": 5, "repeats": 10, "bootstrap": 100}})
    )
    process, address = serving(site.places.folder)
    page = chromium.new_page(locale="en-US", viewport={"width": 1280, "height": 900})
    page.goto(address)
    page.click("a:has-text('Decompensation')")
    page.click("nav.steps >> text=Run")
    page.wait_for_selector("text=To run: about", timeout=SLOW)
    picture(page, "plan")
    page.click("button:has-text('Start')")
    page.wait_for_selector(".stage.running", timeout=SLOW)
    page.reload()
    page.wait_for_selector(".stage.running", timeout=SLOW)
    picture(page, "run")
    page.close()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert jobs.status(site, folder)["state"] == "running"
    process, address = serving(site.places.folder)
    page = chromium.new_page(locale="en-US")
    page.goto(address)
    page.click("a:has-text('Decompensation')")
    page.wait_for_selector(".stage.running", timeout=SLOW)
    page.click("button:has-text('Stop')")
    page.wait_for_selector("text=Stopped. Finished parts are kept.", timeout=SLOW)
    path.write_text(edit_study(path.read_text(), FAST))
    page.click("button:has-text('Go on where it was')")
    page.wait_for_selector("text=Finished.", timeout=SLOW)
    page.wait_for_selector("a:has-text('Read the report')")
    page.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) is not None
    assert (folder / "results" / "report" / "report.html").is_file()


def test_journey_3_masks_are_judged_corrected_and_used(entered, images, tmp_path):
    with entered() as page:
        page.click("a:has-text('Small images')")
        page.click("nav.steps >> text=Masks")
        page.wait_for_selector("tbody a")
        assert page.locator("tbody a").first.text_content() == "P07"
        picture(page, "masks")
        page.locator("tbody a").first.click()
        page.wait_for_selector("canvas")
        until(lambda: page.evaluate("globalThis.hepacastViewer?.complete"))
        picture(page, "mask")
        page.click("summary:has-text('ITK-SNAP')")
        with page.expect_download() as got:
            page.click("a:has-text('Mask'):not([href^='#'])")
        got.value.save_as(tmp_path / "mask.nii.gz")
        geometry = read_volume(tmp_path / "mask.nii.gz").geometry
        write_volume(Volume(small_images.body(8)[1], geometry), tmp_path / "better.nii.gz")
        page.set_input_files(".drop input[type=file]", tmp_path / "better.nii.gz")
        page.wait_for_selector(".tag:has-text('corrected')")
        # The others by keys alone.
        page.locator("canvas").focus()
        page.keyboard.press("n")
        page.wait_for_selector("strong:text-is('P01')")
        page.wait_for_selector("canvas:focus")
        page.keyboard.press("g")
        page.wait_for_selector("strong:text-is('P02')")
        page.wait_for_selector("canvas:focus")
        page.keyboard.press("e")
        page.keyboard.type("motion artefacts")
        page.keyboard.press("Enter")
        page.wait_for_selector("strong:text-is('P03')")
    found = read_reviews(images / "reviews.csv")
    assert {name: item.decision for name, item in found.items()} == {
        "P07": "corrected",
        "P01": "good",
        "P02": "exclude",
    }
    run_study(images, until="segmentation", workers=1)
    used = read_volume(images / "results" / "segmentation" / "masks" / "P07.nii.gz").array
    assert np.array_equal(used, small_images.body(8)[1])
    assert not (images / "results" / "segmentation" / "masks" / "P02.nii.gz").exists()


def test_results_of_an_earlier_version_are_read_and_would_run_again(client, site, done, images):
    """As a run of other code leaves them: other keys, another version, reviews to come."""
    for path in [*done.rglob("stage.json"), *images.rglob("stage.json")]:
        told = json.loads(path.read_text())
        path.write_text(json.dumps({**told, "key": "0" * 64, "version": "0.0.1"}))
    codes = {folder: site.places.code(folder) for folder in (done, images)}
    cards = {item["code"]: item for item in client.get("/api/studies").json()["studies"]}
    assert cards[codes[done]]["state"] == "done" and cards[codes[done]]["report"]
    base = f"/api/studies/{codes[done]}"
    assert all(not stage["kept"] for stage in client.get(f"{base}/plan").json()["stages"])
    assert set(client.get(f"{base}/report").json()["documents"]) == {"report", "supplement", "audit"}
    assert client.get(f"{base}/report/report.html").status_code == 200
    (model,) = client.get("/api/models").json()
    assert model["error"] == "" and client.get(f"/api/models/{model['code']}").status_code == 200
    masks = f"/api/studies/{codes[images]}/masks"
    rows = client.get(masks).json()["patients"]
    assert len(rows) == 24 and client.get(f"{masks}/{rows[0]['code']}").status_code == 200
    assert client.post(f"{masks}/{rows[0]['code']}/decision", json={"decision": "good"}).json() == {"kept": True}


def test_images_are_checked_while_the_page_is_left_and_the_outcome_is_shown_on_request(entered, images):
    with entered() as page:
        page.click("a:has-text('Small images')")
        page.click("nav.steps >> text=Cohort")
        page.click("button:has-text('Check images too')")
        page.wait_for_selector("progress")
        page.click("nav.steps >> text=Masks")
        page.wait_for_selector("tbody a")
        assert page.locator("th:text-is('Outcome')").count() == 0
        page.click("text=Show outcome and set")
        page.wait_for_selector("th:text-is('Outcome')")
        assert page.locator("tbody tr").count() == 24
        page.click("nav.steps >> text=Cohort")
        page.wait_for_selector("summary:has-text('Result of the whole check')", timeout=SLOW)
        page.wait_for_selector(".finding strong")
        picture(page, "checked")


def test_the_canvas_shows_what_numpy_computes(entered, images):
    image, mask = small_images.body(7)
    with entered() as page:
        page.click("a:has-text('Small images')")
        page.click("nav.steps >> text=Masks")
        page.click("tbody a:has-text('P07')")
        until(lambda: page.evaluate("globalThis.hepacastViewer?.complete"))
        colors = {item["value"]: item["color"] for item in page.evaluate("globalThis.hepacastViewer.facts.labels")}
        for k, width, center, overlay in ((9, 150, 60, False), (12, 1500, -500, False), (10, 400, 50, True)):
            got = page.evaluate(
                """([k, window, overlay]) => { const v = globalThis.hepacastViewer; v.overlay = overlay; v.fill = 0;
                v.setWindow("", window); v.slice = k; v.draw();
                return [...v.canvas.getContext("2d").getImageData(0, 0, 64, 64).data]; }""",
                [k, [width, center], overlay],
            )
            shown = np.array(got, np.uint8).reshape(64, 64, 4)
            gray = np.clip(np.floor((image[k] - (center - width / 2)) / width * 256), 0, 255).astype(np.uint8)
            expected = np.repeat(gray[..., None], 3, axis=2)
            if overlay:
                edges = np.zeros(mask[k].shape, bool)
                for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
                    edges |= np.roll(mask[k], step, axis) != mask[k]
                for value, color in colors.items():
                    expected[edges & (mask[k] == value)] = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
            assert np.array_equal(shown[..., :3], expected) and (shown[..., 3] == 255).all()


def test_journey_4_the_report_is_read_and_downloaded(entered, done):
    with entered() as page:
        page.click("a:has-text('Decompensation')")
        frame = page.frame_locator("iframe.report")
        frame.locator("h1").first.wait_for()
        picture(page, "report")
        assert page.get_attribute("iframe.report", "sandbox") == "allow-popups"
        page.click("nav[aria-label=Documents] >> text=Supplement")
        page.frame_locator("iframe.report").locator("h1").first.wait_for()
        for text, begins in (("PDF", b"%PDF"), ("DOCX", b"PK"), ("Tables", b"PK"), ("Model", b"PK")):
            with page.expect_download() as got:
                page.click(f".downloads a:text-is('{text}')")
            assert Path(got.value.path()).read_bytes().startswith(begins)
        # A document of the report's own can do nothing here.
        page.problems.clear()


#: Sentences of English that a person sees, where nothing says that they are English.
ENGLISH = """() => {
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (parent.closest("[lang=en], pre, code, script") || !parent.getClientRects().length) continue;
    if (/[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}/.test(node.textContent)) found.push(node.textContent);
  }
  return found;
}"""


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_journey_8_keyboard_names_and_language(entered, site, done, images, locale):
    chinese = locale == "zh-CN"
    with entered(locale) as page:
        assert page.get_attribute("html", "lang") == ("zh" if chinese else "en")
        codes = {name: site.places.code(site.places.folder / name) for name in ("done", "small")}
        places = [
            "start",
            "patient",
            "statistics",
            "node",
            "settings",
            *(f"study/{codes['done']}/{n}" for n in ("cohort", "run")),
        ]
        places += [f"study/{codes['done']}/report", f"study/{codes['small']}/masks"]
        for place in places:
            page.evaluate("(place) => { location.hash = `#/${place}`; }", place)
            until(lambda place=place: page.locator("h1").count() and page.url.endswith(place))
            page.wait_for_selector("main:not([aria-busy])")
            assert page.evaluate(NAMELESS) == [], place
            assert page.evaluate(FAINT) == [], place
            assert page.evaluate("document.activeElement.tagName") in ("H1", "CANVAS", "BODY", "SELECT", "INPUT"), place
            text = page.locator("main h1").text_content()
            assert bool(re.search("[\u4e00-\u9fff]", text)) == chinese and page.title() == f"{text} · hepacast"
            if chinese:
                assert page.evaluate(ENGLISH) == [], place
                picture(page, f"zh-{place.split('/')[-1]}")
        # From the start to a study's masks, by Tab and Enter.
        page.evaluate("() => { location.hash = '#/start'; }")
        page.wait_for_selector(".card a")
        press(page, "Small images")
        page.wait_for_selector("nav.steps")
        press(page, "掩膜" if chinese else "Masks")
        page.wait_for_selector("tbody a")
        press(page, "P07")
        page.wait_for_selector("canvas:focus")
        before = page.evaluate("globalThis.hepacastViewer.slice")
        page.keyboard.press("ArrowUp")
        assert page.evaluate("globalThis.hepacastViewer.slice") == before + 1


def press(page, text):
    """Tab until a control of this text has the focus, then Enter."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == text:
            visible = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert visible != "none"
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"{text} is not reached by the keyboard")


EVIL = """<!doctype html><title>evil</title><iframe id=f src="{url}"></iframe>
<form id=g method=post action="{url}api/demo" target=f enctype="text/plain">
<input name='{{"recipe":"ptlf","x":"' value='"}}'></form>
<script>
const tell = (name, what) => {{ document.title += ` ${{name}}=${{what}}`; }};
const headers = {{"content-type": "application/json"}};
fetch("{url}api/demo", {{method: "POST", credentials: "include", headers, body: '{{"recipe":"ptlf"}}'}})
  .then((r) => tell("post", r.status), () => tell("post", "blocked"));
fetch("{url}api/studies", {{credentials: "include"}}).then((r) => tell("get", r.status), () => tell("get", "blocked"));
document.getElementById("g").submit();
setTimeout(() => tell("end", 1), 800);
</script>"""


def test_journey_10_a_page_of_another_origin_can_do_nothing(chromium, server, site):
    """The attacks that need a browser; the others are in test_attacks.py."""

    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(EVIL.format(url=server).encode())

        def log_message(self, *args):
            pass

    other = http.server.HTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{server}#token={site.access.new_token()}")
    page.wait_for_selector("nav a")
    assert "token" not in page.url and context.cookies()[0]["httpOnly"] and context.cookies()[0]["sameSite"] == "Strict"
    assert page.evaluate("document.cookie") == ""
    page.goto(f"http://127.0.0.1:{other.server_port}/")
    until(lambda: "end=1" in page.title())
    assert "post=blocked" in page.title() and "get=blocked" in page.title()
    assert not [item for item in site.audit.read() if item.action == "demo"] and not list(
        site.places.folder.glob("demo*")
    )
    context.close()
    other.shutdown()
