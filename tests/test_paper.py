import pytest

from vitcli.paper import curve, points, pretraining, scaling, table


def test_the_tables_are_whole():
    assert [len(table(f"table{n}")) for n in (5, 6, 7)] == [84, 18, 20]


@pytest.mark.parametrize(("model", "average"), [("R50x1", 0.8933), ("R152x2", 0.9401)])
def test_the_average_is_that_of_table_7(model, average):
    """Table 7 prints it for two models of Table 6, which has no average."""
    found = [top1 for name, _, top1 in scaling("average") if name == model]
    assert round(found[0], 4) == average


def test_a_family_is_sorted_by_compute():
    points = scaling("imagenet", "vit")
    assert points[0] == ("ViT-B/32", 55.0, 0.8073)
    assert points[-1] == ("ViT-H/14", 4262.0, 0.8808)


def test_a_model_is_followed_over_pretraining_sets():
    points = pretraining("ImageNet", "ViT-L/16")
    assert points == [(1.3e6, 0.7653), (1.4e7, 0.8515), (3.03e8, pytest.approx(0.8712))]


def test_trainings_are_told_apart():
    assert points("table5", "ImageNet")["ViT-L/16 JFT-300M"] == pytest.approx(0.8712)
    assert points("table6", "average")["R152x2 14"] == pytest.approx(0.94244)
    adam = points("table7", "average")
    assert adam["R50 adam"] - adam["R50 sgd"] == pytest.approx(0.0054, abs=5e-5)
    assert points("table7", "CIFAR-10")["R152x2 sgd"] == pytest.approx(0.9907)


def test_curves_hold_the_points_of_the_tables():
    points = curve("table6", "exaflops", "average")
    assert list(points) == ["ViT", "ResNet", "Hybrid"]
    assert sum(map(len, points.values())) == 18
    assert points["Hybrid"] == [point[1:] for point in scaling("average", "hybrid")]
    models = curve("table5", "images", "top1", test="ImageNet")
    assert models["ViT-L/16"] == pretraining("ImageNet", "ViT-L/16")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("table7", "x", "top1"), "table=table7: choose from table5, table6"),
        (("table6", "images", "average"), "table6 has no column images"),
        (("table6", "exaflops", "top1"), "table6 has no column top1"),
    ],
)
def test_a_curve_of_what_is_not_there_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        curve(*arguments)
    with pytest.raises(ValueError, match="no row with test=JFT"):
        curve("table5", "images", "top1", test="JFT")
