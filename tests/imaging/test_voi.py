"""The VOI language: it reads what it writes, obeys the laws of sets, measures in mm, and says where it stumbles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.errors import GeometryError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.voi import Call, Name, Operation, VoiError, VoiExpression

NAMES = ("a", "b", "c")
GEOMETRY = Geometry((7, 6, 5), (1.0, 2.0, 5.0))


def nodes():
    sized = st.sampled_from(["dilate", "erode", "open", "close", "ring", "rim"])
    lengths = st.sampled_from([0.5, 1.0, 2.5, 5.0, 10.0])
    return st.recursive(
        st.sampled_from(NAMES).map(Name),
        lambda inner: st.one_of(
            st.builds(Operation, st.sampled_from("|&-"), inner, inner),
            st.builds(Call, sized, inner, lengths),
            st.builds(Call, st.sampled_from(["largest", "fill"]), inner, st.none()),
        ),
        max_leaves=8,
    )


def random_masks(seed: int) -> dict[str, Volume]:
    generator = np.random.default_rng(seed)
    return {name: Volume(generator.random(GEOMETRY.shape) < 0.4, GEOMETRY) for name in NAMES}


def value(text: str, masks: dict[str, Volume]) -> np.ndarray:
    return VoiExpression.parse(text).evaluate(masks).array


@settings(max_examples=150, deadline=None)
@given(node=nodes())
def test_what_is_written_is_read_as_the_same_tree(node) -> None:
    assert VoiExpression.parse(str(VoiExpression(node))).root == node


@settings(max_examples=60, deadline=None)
@given(node=nodes(), seed=st.integers(0, 1000))
def test_white_space_and_brackets_change_nothing(node, seed: int) -> None:
    masks, text = random_masks(seed), str(node)
    tight = text.replace(" ", "")
    np.testing.assert_array_equal(value(text, masks), value(tight, masks))
    np.testing.assert_array_equal(value(text, masks), value(f"( {text} )", masks))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_laws_of_sets(seed: int) -> None:
    masks = random_masks(seed)
    laws = [
        ("a - (b | c)", "(a - b) & (a - c)"),
        ("a - (b & c)", "a - b | a - c"),
        ("a & b | a & c", "a & (b | c)"),
        ("a - b - c", "a - c - b"),
        ("a & b - c", "a & (b - c)"),
        ("a - b & c", "(a & c) - b"),
        ("a - (a - b)", "a & b"),
        ("a | a & b", "a"),
        ("ring(a, 3 mm)", "dilate(a, 3 mm) - a"),
        ("rim(a, 3 mm)", "a - erode(a, 3 mm)"),
        ("open(a, 2 mm)", "dilate(erode(a, 2 mm), 2 mm)"),
        ("dilate(a, 5 mm)", "dilate(a, 0.5 cm)"),
        ("dilate(a | b, 2 mm)", "dilate(a, 2 mm) | dilate(b, 2 mm)"),
        ("erode(a & b, 2 mm)", "erode(a, 2 mm) & erode(b, 2 mm)"),
    ]
    for left, right in laws:
        np.testing.assert_array_equal(value(left, masks), value(right, masks), err_msg=f"{left} == {right}")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), mm=st.sampled_from([1.0, 2.0, 3.0, 5.0, 7.5]))
def test_dilation_is_distance_and_erosion_its_dual(seed: int, mm: float) -> None:
    generator = np.random.default_rng(seed)
    mask = Volume(generator.random(GEOMETRY.shape) < 0.1, GEOMETRY)
    where = np.stack(np.meshgrid(*[np.arange(n) for n in GEOMETRY.shape], indexing="ij"), -1) * [5.0, 2.0, 1.0]
    inside = where[mask.array]
    expected = np.zeros(GEOMETRY.shape, bool)
    if len(inside):
        distance = np.sqrt(((where[..., None, :] - inside) ** 2).sum(-1)).min(-1)
        expected = distance <= mm + 1e-9
    masks = {"a": mask, "b": mask.with_array(~mask.array)}
    np.testing.assert_array_equal(value(f"dilate(a, {mm} mm)", masks), expected)
    np.testing.assert_array_equal(value(f"erode(b, {mm} mm)", masks), ~expected)


def test_ball_of_ten_mm_in_flat_voxels() -> None:
    geometry = Geometry((41, 41, 9), (1.0, 1.0, 5.0))
    array = np.zeros(geometry.shape, bool)
    array[4, 20, 20] = True
    ball = value("dilate(a, 10 mm)", {"a": Volume(array, geometry)})
    assert [int(ball[k, 20].sum()) for k in range(9)] == [0, 0, 1, 17, 21, 17, 1, 0, 0]


def test_largest_and_fill() -> None:
    array = np.zeros(GEOMETRY.shape, bool)
    array[1:4, 1:5, 0:3] = True
    array[2, 2:4, 1] = False
    array[2, 3, 6] = True
    masks = {"a": Volume(array, GEOMETRY)}
    assert value("a", masks).sum() == 3 * 4 * 3 - 2 + 1
    assert value("largest(a)", masks).sum() == 3 * 4 * 3 - 2
    assert value("fill(largest(a))", masks).sum() == 3 * 4 * 3
    assert value("largest(a - a)", masks).sum() == 0


def test_study_expressions() -> None:
    ring = VoiExpression.parse("dilate(tumor, 10 mm) & liver - tumor")
    assert ring.names == ("tumor", "liver")
    assert str(ring) == "dilate(tumor, 10 mm) & liver - tumor"
    assert VoiExpression.parse("实质 | Leberläsion_1").names == ("实质", "Leberläsion_1")


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 1, "a mask's name"),
        ("liver -", 8, "the end of the text"),
        ("liver tumor", 7, "an operator"),
        ("dilat(tumor, 10 mm)", 1, "did you mean 'dilate'"),
        ("dilate(tumor)", 13, "a comma and a length"),
        ("dilate(tumor, 10)", 17, "unit, mm or cm"),
        ("dilate(tumor, ten mm)", 15, "a length"),
        ("dilate(tumor, 0 mm)", 15, "above 0"),
        ("largest(tumor, 3 mm)", 14, "')'"),
        ("(liver | tumor", 15, "')'"),
        ("liver ; import os", 7, "';'"),
        ("liver && tumor", 8, "a mask's name"),
        ("__import__('os')", 1, "one of the functions"),
        ("3 mm", 1, "a mask's name"),
        ("(" * 60 + "a" + ")" * 60, 51, "nested"),
    ],
)
def test_mistakes_are_placed(text: str, position: int, words: str) -> None:
    with pytest.raises(VoiError) as caught:
        VoiExpression.parse(text)
    assert f"at position {position}." in str(caught.value)
    assert words in str(caught.value)


def test_unknown_names_and_other_grids() -> None:
    masks = random_masks(1)
    with pytest.raises(VoiError, match="did you mean 'tumor'"):
        VoiExpression.parse("liver - tumour").evaluate({"liver": masks["a"], "tumor": masks["b"]})
    moved = Volume(masks["b"].array, Geometry((7, 6, 5), (1.0, 2.0, 5.0), (0.0, 3.0, 0.0)))
    with pytest.raises(GeometryError, match=r"3\.00 mm"):
        VoiExpression.parse("a - b").evaluate({"a": masks["a"], "b": moved})


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="ab()|&-, 1.5mdilateforc\tµ", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        expression = VoiExpression.parse(text)
    except VoiError:
        return
    assert VoiExpression.parse(str(expression)) == expression


def cube(width: int) -> Volume:
    array = np.zeros((9, 9, 9), dtype=bool)
    array[:width, :width, :width] = True
    return Volume(array, Geometry((9, 9, 9), (1.0, 1.0, 1.0)))


def test_names_with_spaces_and_signs_stand_in_quotes() -> None:
    masks = {name: cube(width) for name, width in (("Liver parenchyma", 8), ("tumor (2)", 5), ("it's", 2))}
    found = VoiExpression.parse('\'Liver parenchyma\' - "tumor (2)" | "it\'s"').evaluate(masks)
    expected = masks["Liver parenchyma"].array & ~masks["tumor (2)"].array | masks["it's"].array
    assert np.array_equal(found.array, expected)
    again = VoiExpression.parse(str(VoiExpression.parse("dilate('tumor (2)', 3 mm) | \"it's\"")))
    assert again.names == ("tumor (2)", "it's")


@pytest.mark.parametrize("text", ["Liver parenchyma", "Tumor 1", "tumor (2)"])
def test_a_name_without_its_quotes_is_told_about_them(text: str) -> None:
    with pytest.raises(VoiError, match="in quotes"):
        VoiExpression.parse(text)


def test_names_that_need_quotes_are_offered_with_them() -> None:
    with pytest.raises(VoiError, match=r'did you mean "tumor [(]2[)]"'):
        VoiExpression.parse("tumor").evaluate({"liver": cube(5), "tumor (2)": cube(2)})
