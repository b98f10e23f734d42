import numpy as np
import pytest

from gate.errors import GateError
from gate.lab.embeddings import Embeddings
from gate.lab.evaluate import Material, Provenance, evaluate
from gate.lab.pairs import Comparisons
from gate.lab.results import Curve, ErrorKind, EvaluationResult, Recognizer
from gate.lab.scores import MethodScores
from gate.lab.tables import markdown_table, pairwise_csv, scores_csv
from gate.lab.trial import Settings, warning_of
from gate.types import FloatArray

PEOPLE, EACH = 40, 5
RECOGNIZER = Recognizer("net", "net@12345678", "1" * 64, "onnx", 32, 1.0)
NOW = Provenance("gate evaluate", 0)
QUICK = Settings(fmr_targets=(1e-2, 1e-3), bootstrap=60)


class World:
    """People around centres; the lower the quality the noisier the embedding."""

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.people = np.repeat(np.arange(PEOPLE), EACH)
        images = len(self.people)
        self.quality = random.random(images).astype(np.float32)
        centres = random.standard_normal((PEOPLE, 32))
        noise = random.standard_normal((2, images, 32)) * (1.6 - 1.5 * self.quality[:, None])
        self.plain, self.mirrored = (centres[self.people] + noise).astype(np.float32)
        a, b = np.triu_indices(images, k=1)
        self.pairs = Comparisons(a.astype(np.int32), b.astype(np.int32), self.people[a] == self.people[b])
        self.useless = random.random(images).astype(np.float32)

    def material(self, *methods: MethodScores, embeddings: Embeddings | None = None) -> Material:
        names = tuple(f"p{person:02d}" for person in self.people)
        paths = tuple(f"{name}/{place}.jpg" for place, name in enumerate(names))
        both = embeddings or Embeddings(RECOGNIZER, self.plain, self.mirrored)
        return Material("toy", paths, names, "0" * 64, self.pairs, both, methods)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def result(world: World) -> EvaluationResult:
    methods = [MethodScores("useless", world.useless), MethodScores("true", world.quality)]
    return evaluate(world.material(*methods), QUICK, NOW)


def test_a_true_quality_beats_a_useless_one_in_every_mode(result: EvaluationResult) -> None:
    for mode in ("iso", "crfiqa", "beyond-edc"):
        true, useless = (result.method(name).curve(mode, "fnmr", 1e-2).pauc(0.3) for name in ("true", "useless"))
        assert true.normalised < 0.8 < useless.normalised < 1.3
        assert true.share_of_ideal > useless.share_of_ideal


def test_intervals_hold_their_point_and_the_difference_is_told_apart(result: EvaluationResult) -> None:
    for method in result.methods:
        for curve in method.curves:
            for area in curve.paucs:
                if not np.isnan(area.normalised):
                    assert area.low <= area.high
        for area in method.curve("iso", "fnmr", 1e-2).paucs:
            assert area.low <= area.normalised <= area.high
    (test,) = [test for test in result.pairwise if (test.fmr, test.limit) == (1e-2, 0.3)]
    assert (test.method_a, test.method_b) == ("useless", "true")
    assert test.difference > test.low > 0
    # 2 / 61 is the smallest p that 60 replicates can give.
    assert test.p < 0.1


def test_numbers_are_those_of_the_pairs(world: World, result: EvaluationResult) -> None:
    unit = world.plain / np.linalg.norm(world.plain, axis=1, keepdims=True)
    cosine = (unit @ unit.T)[world.pairs.first, world.pairs.second]
    curve = result.method("true").curve("iso", "fnmr", 1e-2)
    genuine, impostor = cosine[world.pairs.same], cosine[~world.pairs.same]
    assert curve.false_matches == int(0.01 * len(impostor)) == np.count_nonzero(impostor > curve.threshold + 1e-6)
    assert curve.false_non_matches == np.count_nonzero(genuine <= curve.threshold + 1e-6)
    assert curve.fnmr0 == pytest.approx(curve.false_non_matches / len(genuine))
    assert curve.y[0] == pytest.approx(curve.fnmr0)
    assert (result.dataset.n_genuine, result.dataset.n_impostor) == (len(genuine), len(impostor))
    assert (result.dataset.n_images, result.dataset.n_identities) == (PEOPLE * EACH, PEOPLE)


def test_false_matches_over_discards_start_at_the_target(result: EvaluationResult) -> None:
    curve = result.method("true").curve("iso", "fmr", 1e-2)
    assert curve.y[0] == pytest.approx(curve.fmr0)
    assert curve.fmr0 <= 1e-2


def test_an_operating_point_on_few_errors_carries_a_warning(result: EvaluationResult) -> None:
    warned = result.method("true").curve("iso", "fnmr", 1e-3)
    assert warned.false_matches < 30
    assert f"rests on {warned.false_matches} false matches" in warned.warning
    assert result.method("true").curve("iso", "fnmr", 1e-2).warning == ""


@pytest.mark.parametrize(
    ("error", "matches", "misses", "told"),
    [("fnmr", 29, 30, "29 false matches"), ("fnmr", 30, 29, "29 false non-matches"), ("fmr", 29, 0, "29 false")],
)
def test_thirty_errors_are_the_border(error: ErrorKind, matches: int, misses: int, told: str) -> None:
    assert told in warning_of(error, matches, misses)
    assert warning_of(error, 30, 30) == ""


def same_numbers(a: Curve, b: Curve) -> None:
    np.testing.assert_array_equal(a.x, b.x)
    np.testing.assert_array_equal(a.y, b.y)
    assert a.paucs == b.paucs


def test_a_monotone_transform_of_the_scores_changes_nothing(world: World, result: EvaluationResult) -> None:
    moved = MethodScores("true", np.exp(3 * world.quality) - 10)
    other = evaluate(world.material(moved), QUICK, NOW)
    for curve in result.method("true").curves:
        same_numbers(curve, other.method("true").curve(curve.mode, curve.error, curve.fmr_target))


def test_the_order_of_the_pairs_changes_nothing_but_the_checksum(world: World, result: EvaluationResult) -> None:
    order = np.random.default_rng(1).permutation(len(world.pairs.first))
    shuffled = World()
    shuffled.pairs = world.pairs.taken(order)
    other = evaluate(shuffled.material(MethodScores("true", world.quality)), QUICK, NOW)
    for curve in result.method("true").curves:
        same_numbers(curve, other.method("true").curve(curve.mode, curve.error, curve.fmr_target))
    assert other.dataset.pairs_checksum != result.dataset.pairs_checksum


def test_the_same_seed_gives_the_same_result_and_another_other_intervals(world: World) -> None:
    material = world.material(MethodScores("true", world.quality))
    first, again = (evaluate(material, QUICK, NOW).to_json() for _ in range(2))
    assert first == again
    other = evaluate(material, Settings(fmr_targets=(1e-2,), bootstrap=60, seed=1), NOW)
    a, b = (
        found.method("true").curve("iso", "fnmr", 1e-2).pauc(0.2) for found in (evaluate(material, QUICK, NOW), other)
    )
    assert a.normalised == b.normalised
    assert a.low != b.low


def test_constant_scores_are_as_good_as_none(world: World) -> None:
    flat = evaluate(world.material(MethodScores("flat", np.ones_like(world.quality))), QUICK, NOW).method("flat")
    for curve in flat.curves:
        for area in curve.paucs:
            assert np.isnan(area.normalised) or area.normalised == pytest.approx(1.0)
    assert flat.statistics.distinct == 1


def test_without_a_bootstrap_there_are_points_but_no_intervals(world: World) -> None:
    plain = Settings(fmr_targets=(1e-2,), bootstrap=0)
    methods = (MethodScores("true", world.quality), MethodScores("useless", world.useless))
    result = evaluate(world.material(*methods), plain, NOW)
    area = result.method("true").curve("iso", "fnmr", 1e-2).pauc(0.2)
    assert area.normalised > 0
    assert np.isnan(area.low)
    assert result.pairwise == ()


def test_without_mirrored_embeddings_there_is_no_crfiqa_curve(world: World) -> None:
    embeddings = Embeddings(RECOGNIZER, world.plain, None)
    material = world.material(MethodScores("true", world.quality), embeddings=embeddings)
    result = evaluate(material, Settings(bootstrap=0), NOW)
    assert {curve.mode for curve in result.methods[0].curves} == {"iso", "beyond-edc"}


def test_only_the_wished_modes_are_drawn(world: World) -> None:
    wish = Settings(modes=("beyond-edc",), bootstrap=5)
    methods = (MethodScores("true", world.quality), MethodScores("useless", world.useless))
    result = evaluate(world.material(*methods), wish, NOW)
    assert {curve.mode for curve in result.methods[0].curves} == {"beyond-edc"}
    assert result.pairwise == ()


def test_without_a_recognizer_scores_are_described_all_the_same(world: World) -> None:
    nothing = np.empty(0, dtype=np.int32)
    none = Comparisons(nothing, nothing, np.empty(0, dtype=np.bool_))
    paths = tuple(f"{place}.jpg" for place in range(len(world.quality)))
    scores = [MethodScores("true", world.quality)]
    result = evaluate(Material("scores", paths, ("",) * len(paths), "", none, None, scores), QUICK, NOW)
    assert result.recognizer.kind == "none"
    assert result.methods[0].curves == ()
    assert sum(result.methods[0].statistics.histogram.counts) == len(paths)
    assert EvaluationResult.from_json(result.to_json()).dataset.n_genuine == 0


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        ([], "nothing to evaluate"),
        ([("a", 200), ("a", 200)], "two sets of scores are called 'a'"),
        ([("a", 3)], "3 scores for 200 images"),
    ],
)
def test_scores_that_do_not_fit_are_refused(world: World, methods: list[tuple[str, int]], told: str) -> None:
    made = [MethodScores(name, np.zeros(count, dtype=np.float32)) for name, count in methods]
    with pytest.raises(GateError, match=told):
        evaluate(world.material(*made), QUICK, NOW)


def test_both_kinds_of_pairs_are_needed() -> None:
    lonely = World()
    lonely.pairs = lonely.pairs.genuine()
    with pytest.raises(GateError, match="400 genuine and 0 impostor pairs"):
        evaluate(lonely.material(MethodScores("true", lonely.quality)), QUICK, NOW)


def test_samples_carry_what_a_report_needs(world: World, result: EvaluationResult) -> None:
    samples = result.samples
    assert samples is not None
    assert len(samples.paths) == len(samples.identities) == len(world.quality)
    np.testing.assert_array_equal(samples.scores["true"], world.quality)
    assert samples.similarity.shape == samples.same.shape == samples.first.shape


def test_tables_show_the_best_method_first_with_its_interval(result: EvaluationResult) -> None:
    lines = markdown_table(result, 0.2).splitlines()
    assert "⚠" in lines[0]
    assert [line.split(" |")[0] for line in lines[2:]] == ["| true", "| useless"]
    area = result.method("true").curve("iso", "fnmr", 1e-2).pauc(0.2)
    assert f"{area.normalised:.3f} ({area.low:.3f} to {area.high:.3f})" in lines[2]
    assert scores_csv(result).splitlines()[0] == "path,identity,useless,true"
    assert len(scores_csv(result).splitlines()) == 1 + PEOPLE * EACH
    assert len(pairwise_csv(result).splitlines()) == 1 + 2 * 3


def test_large_sets_are_judged_the_same_in_float32(world: World) -> None:
    # Scores of a wide range lose nothing: ranks are taken before anything is added up.
    wide: FloatArray = (world.quality * 1e30).astype(np.float32)
    methods = (MethodScores("narrow", (wide / np.float32(1e30)).astype(np.float32)), MethodScores("wide", wide))
    result = evaluate(world.material(*methods), Settings(bootstrap=0), NOW)
    same_numbers(*(method.curve("iso", "fnmr", 1e-2) for method in result.methods))
