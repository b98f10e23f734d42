import csv
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from gate.errors import GateError
from gate.lab.attributes import attribute_response
from gate.lab.bias import bias_report
from gate.lab.degrade import Degradation
from gate.lab.embeddings import Embeddings
from gate.lab.evaluate import Material, Provenance, evaluate
from gate.lab.fairness import GenuinePairs
from gate.lab.groups import group_images
from gate.lab.pairs import Comparisons
from gate.lab.report import write_report
from gate.lab.response import run_suite
from gate.lab.results import EvaluationResult, Recognizer, Samples
from gate.lab.scores import MethodScores
from gate.lab.trial import Settings
from gate.quality import load_method
from gate.types import Image

HOSTILE = "<script>alert(1)</script>"
PEOPLE, EACH = 40, 4
COUNT = PEOPLE * EACH


def hostile_path(index: int) -> str:
    ends = {0: '"><img src=x onerror=alert(1)>', 1: "\udcff", 2: "\u202egpj.", 3: "a\x00b"}
    return f"p{index // EACH}/{ends.get(index, index)}.jpg"


def crop(index: int) -> Image:
    picture = np.zeros((112, 112, 3), dtype=np.uint8)
    cv2.putText(picture, str(index), (10, 70), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (255, 255, 255), 3)
    return picture


def evaluated() -> EvaluationResult:
    """40 people with 4 images each; `good` knows which embeddings are noisy, the hostile one knows nothing."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(PEOPLE), EACH)
    spoilt = rng.random(COUNT)
    noise = rng.standard_normal((COUNT, 32)) * (0.2 + 2.2 * spoilt[:, None] ** 3)
    embeddings = (rng.standard_normal((PEOPLE, 32))[people] + noise).astype(np.float32)
    first, second = np.triu_indices(COUNT, 1)
    pairs = Comparisons(first.astype(np.int32), second.astype(np.int32), people[first] == people[second])
    methods = [
        MethodScores("good", (1 - spoilt).astype(np.float32), "good", "net@12345678", {"phi": "block2"}, 3.25, "cpu"),
        MethodScores(HOSTILE, rng.random(COUNT).astype(np.float32)),
        MethodScores("one value", np.ones(COUNT, dtype=np.float32)),
    ]
    material = Material(
        "made-up people & <b>friends</b>",
        tuple(map(hostile_path, range(COUNT))),
        tuple(f"p{person}" for person in people),
        "ab" * 32,
        pairs,
        Embeddings(Recognizer("w600k-mbf", "w600k-mbf@cdcdcdcd", "cd" * 32, "onnx", 32, 8.5), embeddings, embeddings),
        methods,
    )
    settings = Settings(fmr_targets=(1e-3,), modes=("iso", "crfiqa"), bootstrap=20)
    return evaluate(material, settings, Provenance("gate evaluate 'a & b' -o x", 1_760_000_000_000, ("mind <this>",)))


def held(result: EvaluationResult) -> Samples:
    assert result.samples is not None
    return result.samples


def small(result: EvaluationResult) -> EvaluationResult:
    """The same with one curve of each kind: plots are what takes time."""
    methods = (replace(method, curves=method.curves[:1], det=method.det[:1]) for method in result.methods[:2])
    return replace(result, methods=tuple(methods), pairwise=())


@dataclass(frozen=True)
class Written:
    folder: Path
    html: str
    result: EvaluationResult


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("report")
    result = evaluated()
    samples = held(result)
    genuine = np.flatnonzero(samples.same)
    pairs = GenuinePairs(samples.first[genuine], samples.second[genuine], samples.similarity[genuine] < 0.3)
    groups = group_images([("", "</script><script>alert(2)</script>", "b&b")[index % 3] for index in range(COUNT)])
    bias = bias_report(samples.scores["good"], groups, attribute="</title>", method=HOSTILE, pairs=pairs, replicates=20)
    labels = [str(index % 3) for index in range(COUNT)]
    attribute = attribute_response(samples.scores["good"], labels, attribute="bl<u>r", method="good", replicates=20)
    crops = np.stack([crop(index) for index in range(4)])
    degradation = run_suite(load_method("sharpness"), crops, kinds=(Degradation.JPEG, Degradation.NOISE), name=HOSTILE)
    path = write_report(result, folder, read_crop=crop, bias=[bias], attributes=[attribute], degradations=[degradation])
    return Written(folder, path.read_text(encoding="utf-8"), result)


class Elements(HTMLParser):
    """Every element with its attributes, and the text that is not in one of the tags that carry code or data."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in {"meta", "link", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)


def test_the_page_asks_nobody_else(written: Written) -> None:
    for tag, attributes in Elements(written.html).found:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            address = attributes.get(name, "#")
            assert address.startswith(("#", "data:")), f"<{tag} {name}={address[:60]}>"
        if tag == "meta" and "http-equiv" in attributes:
            assert attributes["http-equiv"] == "Content-Security-Policy"
    css = written.html.split("<style>")[1].split("</style>")[0]
    assert "url(" not in css
    assert "@import" not in css
    outside = [
        address for address in re.findall(r"https?://[\w./-]+", written.html) if "www.w3.org/2000/svg" not in address
    ]
    assert outside == []


def test_nothing_hostile_becomes_markup(written: Written) -> None:
    page = Elements(written.html)
    assert page.open == []
    executable = [attributes for tag, attributes in page.found if tag == "script" and "type" not in attributes]
    assert executable == [{}], "only our own script may run"
    assert {tag for tag, _ in page.found}.isdisjoint({"b>", "u", "iframe", "object", "base", "form"})
    for tag, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
    assert [attributes["src"][:5] for tag, attributes in page.found if tag == "img"].count("data:") > 50
    words = " ".join(page.words)
    for text in (HOSTILE, "made-up people & <b>friends</b>", "mind <this>", "bl<u>r", "gate evaluate 'a & b' -o x"):
        assert text in words
    assert "\u202e" not in written.html
    assert "\x00" not in written.html


def test_data_for_the_script_cannot_end_its_element(written: Written) -> None:
    blocks = re.findall(r'<script type="application/json">(.*?)</script>', written.html, flags=re.DOTALL)
    assert len(blocks) > 15
    names = {line["name"] for block in blocks for line in json.loads(block)["lines"]}
    assert {HOSTILE, "</script><script>alert(2)</script>", "ideal"} <= names
    assert all("<" not in block for block in blocks)


def test_every_identifier_is_used_once_and_every_link_leads_somewhere(written: Written) -> None:
    page = Elements(written.html)
    identifiers = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    links = [attributes["href"][1:] for tag, attributes in page.found if tag == "a"]
    assert set(links) <= set(identifiers)
    assert {"errors", "significance", "det", "spread", "crops", "disagreement"} <= set(links)
    assert {"degradations", "attributes", "bias", "provenance"} <= set(links)


def test_the_table_holds_the_numbers_of_the_result(written: Written) -> None:
    words = re.sub(r"\s+", " ", " ".join(Elements(written.html).words))
    pauc = written.result.method("good").curve("iso", "fnmr", 1e-3).pauc(0.2)
    assert f"{pauc.normalised:.3f} [{pauc.low:.3f}, {pauc.high:.3f}]" in words
    assert "fewer than 30 errors" in words
    assert "\N{WARNING SIGN}" in words
    for fact in ("net@12345678; phi=block2; cpu", "ab" * 32, "cd" * 32, written.result.version, "3.2", "numpy"):
        assert fact in words


def test_a_few_false_matches_are_marked_and_many_are_not(written: Written) -> None:
    curve = written.result.method("good").curve("iso", "fnmr", 1e-3)
    assert curve.false_matches < 30 < curve.false_non_matches
    assert f'<td class="few">{curve.false_matches} \N{WARNING SIGN}</td>' in written.html
    assert f"<td>{curve.false_non_matches}</td>" in written.html


def test_every_chart_is_a_png_an_svg_and_a_csv(written: Written) -> None:
    charts = {path.stem for path in written.folder.glob("*.png")}
    tables = {"table", "attributes", "degradations", "bias"}
    assert charts == {path.stem for path in written.folder.glob("*.svg")}
    assert charts | tables == {path.stem for path in written.folder.glob("*.csv")}
    assert {"edc-iso-fnmr-0.001", "det-good", "similarities", "spearman", "scores-good"} <= charts
    assert {
        "degradations-script-alert-1-script",
        "attribute-bl-u-r-good",
        "bias-title-script-alert-1-script-kept",
    } <= charts
    assert all(re.fullmatch(r"[a-z0-9.-]+", path.name) for path in written.folder.iterdir())


def test_the_files_hold_the_result(written: Written) -> None:
    again = EvaluationResult.from_json((written.folder / "results.json").read_text(encoding="utf-8"))
    assert again.method("good").curves == written.result.method("good").curves
    with (written.folder / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pauc = written.result.method("good").curve("crfiqa", "fnmr", 1e-3).pauc(0.3)
    (row,) = [
        row
        for row in rows
        if (row["method"], row["mode"], row["error"], row["fmr_target"], row["pauc_limit"])
        == ("good", "crfiqa", "fnmr", "0.001", "0.3")
    ]
    assert float(row["pauc_normalised"]) == pauc.normalised


def test_methods_whose_names_differ_in_signs_only_keep_their_own_files(tmp_path: Path) -> None:
    result = small(evaluated())
    good = result.method("good")
    twins = replace(result, methods=(replace(good, name="a+b"), replace(good, name="a b")), pairwise=())
    write_report(twins, tmp_path)
    assert (tmp_path / "det-a-b.png").is_file()
    assert (tmp_path / "det-a-b-2.png").is_file()


def test_a_result_that_was_read_back_is_reported_without_crops(written: Written, tmp_path: Path) -> None:
    again = EvaluationResult.from_json(small(written.result).to_json())
    html = write_report(again, tmp_path, read_crop=crop).read_text(encoding="utf-8")
    assert 'id="crops"' not in html
    assert 'id="errors"' in html


def test_scores_alone_make_a_report(tmp_path: Path) -> None:
    result = evaluated()
    bare = replace(
        result,
        recognizer=Recognizer("none", "none", "", "none", 0, float("nan")),
        methods=tuple(replace(method, curves=(), det=()) for method in result.methods),
        pairwise=(),
        samples=None,
    )
    html = write_report(bare, tmp_path).read_text(encoding="utf-8")
    assert "This evaluation holds no curve." in html
    assert "recognizer" not in " ".join(Elements(html).words)
    assert 'id="det"' not in html


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GateError, match="cannot be written"):
        write_report(small(evaluated()), tmp_path / "file")


@pytest.fixture
def chromium(tmp_path: Path) -> list[str]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("chromium is not installed")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    return [program, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={tmp_path / 'profile'}"]


def browsed(chromium: list[str], page: Path) -> tuple[str, str]:
    """The page as the browser has it after its script ran, and what the browser had to say."""
    look = [*chromium, "--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", page.as_uri()]
    done = subprocess.run(look, capture_output=True, check=True, timeout=180)
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


@pytest.mark.slow
def test_a_browser_runs_the_page_under_its_policy(written: Written, chromium: list[str]) -> None:
    html, said = browsed(chromium, written.folder / "report.html")
    assert 'data-ready="yes"' in html[:400]
    console = [line for line in said.splitlines() if "CONSOLE" in line]
    assert console == []


DRIVER = """
const figure = document.getElementById("edc-iso-fnmr-0.001");
const picture = figure.querySelector(".plot > svg"), tip = figure.querySelector(".tip");
const box = picture.getBoundingClientRect(), scale = box.width / 460;
const told = {};
const there = {clientX: box.left + scale * (60 + 390 * 0.4), clientY: box.top + 50};
picture.dispatchEvent(new PointerEvent("pointermove", there));
told.hover = tip.innerText; told.shown = !tip.hidden; told.dots = figure.querySelectorAll(".cursor circle").length;
const area = tip.getBoundingClientRect();
told.inside = area.left >= 0 && area.right <= document.documentElement.clientWidth;
picture.dispatchEvent(new PointerEvent("pointerleave"));
told.left = tip.hidden;
picture.focus();
const press = (key) => picture.dispatchEvent(new KeyboardEvent("keydown", {key}));
press("Home"); told.home = tip.innerText;
press("End"); told.end = tip.innerText;
press("ArrowLeft"); told.before = tip.innerText;
press("Escape"); told.escaped = tip.hidden;
const points = document.querySelector("figure[id^=attribute] .plot > svg");
points.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
told.place = points.parentNode.querySelector(".tip").innerText;
told.wide = document.documentElement.scrollWidth <= document.documentElement.clientWidth;
document.documentElement.dataset.told = JSON.stringify(told);
"""


@pytest.mark.slow
@pytest.mark.parametrize("width_px", [1200, 500])
def test_a_chart_can_be_read_with_the_pointer_and_the_keys(
    written: Written, chromium: list[str], tmp_path: Path, width_px: int
) -> None:
    page = tmp_path / "driven.html"
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", written.html)
    page.write_text(free.replace("</body>", f"<script>{DRIVER}</script></body>"), encoding="utf-8")
    html, _ = browsed([*chromium, f"--window-size={width_px},900"], page)
    (attribute,) = [value["data-told"] for tag, value in Elements(html).found if tag == "html"]
    told = json.loads(attribute)
    curve = written.result.method("good").curve("iso", "fnmr", 1e-3)
    assert (told["shown"], told["left"], told["escaped"], told["inside"], told["wide"]) == (
        True,
        True,
        True,
        True,
        True,
    )
    assert told["hover"].startswith("Discarded genuine pairs: 20")
    held_at = max(place for place, x in enumerate(curve.x) if x <= 0.2 + 1e-9)
    assert f"good: {float(f'{100 * curve.y[held_at]:.4g}'):g} % [" in told["hover"]
    assert HOSTILE in told["hover"]
    assert told["dots"] == 5
    assert told["home"].startswith("Discarded genuine pairs: 0 %")
    assert told["end"].startswith("Discarded genuine pairs: 50 %")
    assert told["before"].startswith("Discarded genuine pairs: 49.17 %")
    assert told["place"].startswith("0 (n=54)")
