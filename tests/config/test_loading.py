"""Every mistake in a configuration is reported, all together, each with its key."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from biglearn_gan.config import Config, ConfigError, load_config, parse_config

BASE: dict[str, Any] = {
    "data": {"name": "digits", "image_size": 8, "channels": 1},
    "tasks": {"preset": "big"},
    "model": {
        "patch_size": 2,
        "generator": {"width": 64, "heads": 4},
        "discriminator": {"width": 64, "heads": 4},
    },
    "loss": {"relativistic": 1.0},
    "train": {"max_images": 1000},
}


CONDITIONAL = {
    "name": "half",
    "weight": 1.0,
    "target": {"pattern": "iid", "ratio": {"fixed": 0.5}},
}


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """A copy of BASE with ``("key.sub", value)`` set for each of the changes."""
    values = copy.deepcopy(BASE)
    for key, value in changes:
        *parents, last = key.split(".")
        here = values
        for parent in parents:
            here = here.setdefault(parent, {})
        here[last] = value
    return values


def problems_of(*changes: tuple[str, Any]) -> tuple[str, ...]:
    """What is said about BASE after the changes; nothing for a valid configuration."""
    try:
        parse_config(changed(*changes))
    except ConfigError as error:
        return error.problems
    return ()


def components(**component: Any) -> tuple[str, Any]:
    """The change that replaces the preset by one component."""
    return "tasks", {"components": [{"name": "only", "weight": 1.0} | component]}


def target(**ratio: Any) -> tuple[str, Any]:
    """The change that replaces the preset by one component whose target has this ratio law."""
    return components(target={"pattern": "iid", "ratio": ratio})


def keys_of(problems: Iterable[str]) -> list[str]:
    """The key that each problem begins with."""
    matches = [re.match(r"([a-z0-9_.]+): .", problem) for problem in problems]
    assert all(matches), problems
    return [match[1] for match in matches if match]


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(BASE))
    return path


def file_problems(path: Path, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return caught.value.problems


def test_an_image_is_moved_by_less_than_its_side(config_file: Path) -> None:
    overrides = ["data.labels=true", "data.labeled_images=10", "loss.pseudo_labels={shift: 8}"]
    assert file_problems(config_file, *overrides) == (
        "loss.pseudo_labels.shift: 8 pixels are not below the image's side of 8",
    )


LABELED = {"name": "digits", "image_size": 8, "channels": 1, "labels": True}
FOLDER = LABELED | {"name": "folder"}

# One mistake each: the change, the key that its message begins with, and what the message says.
UNKNOWN = [
    (("color", 1), "color", "unknown key; allowed here: data, tasks, model"),
    (("data.nam", "digits"), "data.nam", "unknown key, perhaps name; allowed here: name, root"),
    (("train.learning_rate.both", 1.0), "train.learning_rate.both", "generator, discrimin"),
    (("model.generator.dropout", 0.1), "model.generator.dropout", "width, depth, heads"),
    (components(share=1.0), "tasks.components.0.share", "name, weight, union, target"),
    (
        components(target={"law": "iid"}),
        "tasks.components.0.target.law",
        "pattern, ratio, inverted",
    ),
    (
        target(normal=[0.0, 1.0]),
        "tasks.components.0.target.ratio.normal",
        "uniform, fixed, count",
    ),
]
WRONG_TYPE = [
    (("data", 3), "data", "3 is not allowed"),
    (("data.root", 3), "data.root", "3 is not allowed"),
    (("data.download", "no"), "data.download", "'no' is not allowed"),
    (("data.download", 1), "data.download", "1 is not allowed"),
    (("data.image_size", "8"), "data.image_size", "'8' is not allowed"),
    (("data.image_size", [8]), "data.image_size.1", "missing"),
    (("data.image_size", True), "data.image_size", "True is not allowed"),
    (("train.max_images", 1.5), "train.max_images", "1.5 is not allowed"),
    (("train.seed", True), "train.seed", "True is not allowed"),
    (("train.learning_rate", 2e-3), "train.learning_rate", "0.002 is not allowed"),
    (("train.learning_rate.generator", "2e-3"), "train.learning_rate.generator", "'2e-3'"),
    (("tasks", {"components": "all"}), "tasks.components", "'all' is not allowed"),
    (("tasks", {"components": [1]}), "tasks.components.0", "1 is not allowed"),
    (target(uniform=0.5), "tasks.components.0.target.ratio.uniform", "0.5 is not allowed"),
]
NOT_IN_RANGE = [
    (("data.name", "digit"), "data.name", "'digit' is not allowed"),
    (("data.channels", 2), "data.channels", "1 or 3"),
    (("data.image_size", [8, -2]), "data.image_size.1", "greater than 0"),
    (("data.image_size", [8, 8, 1]), "data.image_size", "(8, 8, 1) is not allowed"),
    (("data.validation_share", 1.0), "data.validation_share", "less than 1"),
    (("model.patch_size", 0), "model.patch_size", "greater than 0"),
    (("loss.penalty.r1", float("nan")), "loss.penalty.r1", "finite"),
    (("loss.penalty.r2", float("inf")), "loss.penalty.r2", "finite"),
    (("train.seed", -1), "train.seed", "greater than or equal to 0"),
    (("train.learning_rate.generator", 0), "train.learning_rate.generator", "greater than 0"),
    (("train.warm_start.share", 1.0), "train.warm_start.share", "less than 1"),
    (("tasks.preset", "mea"), "tasks.preset", "'mea' is not allowed"),
    (target(fixed=1.5), "tasks.components.0.target.ratio.fixed", "1.5 is not allowed"),
    (("loss.augmentation", {"color": 1.5}), "loss.augmentation.color", "less than or equal to 1"),
    (("loss.pseudo_labels", 0.95), "loss.pseudo_labels", "0.95 is not allowed"),
    (target(count=0), "tasks.components.0.target.ratio.count", "0 is not allowed"),
]
MISSING = [
    (("data", {"name": "digits", "image_size": 8}), "data.channels", "missing"),
    (("model", {}), "model.patch_size", "missing"),
    (("data", None), "data", "this section is empty"),
    (("loss", None), "loss", "this section is empty"),
    (("tasks", {"components": [{"weight": 1.0}]}), "tasks.components.0.name", "missing"),
]
IMPOSSIBLE = [
    (("data.image_size", [8, 13]), "data.image_size", "width 13 is not a multiple of"),
    (("data.image_size", [13, 8]), "data.image_size", "height 13 is not a multiple of"),
    (("tasks", {}), "tasks", "exactly one of preset, components, not none"),
    (
        ("tasks.components", [{"name": "a", "weight": 1.0}]),
        "tasks",
        "exactly one of preset, components, not preset and components",
    ),
    (("tasks", {"components": []}), "tasks.components", "all weights are 0"),
    (("tasks.weights", {"strokes": 1.0}), "tasks.weights.strokes", "are joint, scattered, box"),
    (("tasks", {"preset": "mae", "weights": {"mae": 0}}), "tasks.weights", "all weights are 0"),
    (
        ("tasks", {"components": [CONDITIONAL], "weights": {"joint": 1.0}}),
        "tasks.weights",
        "give each component its own weight",
    ),
    (components(weight=0), "tasks.components", "all weights are 0"),
    (target(), "tasks.components.0.target.ratio", "exactly one of"),
    (target(fixed=0.5, count=3), "tasks.components.0.target.ratio", "not fixed and count"),
    (
        target(uniform=[0.6, 0.2]),
        "tasks.components.0.target.ratio.uniform",
        "[0.6, 0.2] is not a range inside [0, 1]",
    ),
    (
        target(uniform=[0.6, 1.2]),
        "tasks.components.0.target.ratio.uniform",
        "[0.6, 1.2] is not a range inside [0, 1]",
    ),
    (
        components(union={"pattern": "grid"}),
        "tasks.components.0.union.ratio",
        "'grid' needs one of uniform, fixed, count",
    ),
    (
        components(union={"ratio": {"fixed": 0.5}}),
        "tasks.components.0.union.ratio",
        "'everything' takes no ratio",
    ),
    (("tasks.preset", "joint"), "train.warm_start.share", "needs tasks with a source"),
    (components(), "train.warm_start.share", "needs tasks with a source"),
    (
        (
            "tasks",
            {"components": [CONDITIONAL | {"weight": 0}, {"name": "joint", "weight": 1.0}]},
        ),
        "train.warm_start.share",
        "needs tasks with a source",
    ),
    (("loss.relativistic", 0.0), "loss", "at least one of them"),
    (("loss", {"mismatched_label": 1, "logistic": 1}), "loss.mismatched_label", "logistic to 0"),
    (("loss", {"logit_centering": 1, "logistic": 1}), "loss.logit_centering", "logistic to 0"),
    (("loss.communication", 0.5), "loss.communication", "needs loss.logistic above 0"),
    (
        ("loss", {"reuse_fake_pass": True, "penalty": {"interval": 1}}),
        "loss.reuse_fake_pass",
        "every step has one",
    ),
    (
        ("loss", {"reuse_fake_pass": True, "logit_centering": 0.01}),
        "loss.reuse_fake_pass",
        "with loss.logit_centering",
    ),
    (("loss.fakes_per_real", 1), "loss.energy_score", "fakes_per_real of at least 2, not 1"),
    (("train.max_minutes", 5), "train", "max_minutes, not max_images and max_minutes"),
    (("data.labeled_images", 10), "data.labeled_images", "only for data.labels: true"),
    (("data", LABELED | {"labeled_images": 15}), "data.labeled_images", "equally by 10 classes"),
    (("data", LABELED | {"labeled_seed": 1}), "data.labeled_seed", "only for data.labeled_images"),
    (
        ("data", LABELED | {"labeled_images": 10, "missing": {"hole": "center"}}),
        "data.labeled_images",
        "incomplete images",
    ),
    (("loss.pseudo_labels", {}), "loss.pseudo_labels", "only for data.labeled_images or data.unl"),
    (("data.unlabeled", "more"), "data.unlabeled", "only for a folder with data.labels: true"),
    (("data", LABELED | {"unlabeled": "more"}), "data.unlabeled", "only for a folder with"),
    (("data.unlabeled", 3), "data.unlabeled", "3 is not allowed"),
    (
        ("data", FOLDER | {"unlabeled": "more", "missing": {"alpha": True}}),
        "data.unlabeled",
        "incomplete images need all labels",
    ),
    *(
        (("data", FOLDER | {"unlabeled": name}), "data.unlabeled", f"{name!r} is not the name of a")
        for name in ("train/more", "more/", "..", "/more", "")
    ),
    (
        ("loss.augmentation", {"flip_rotate": 0, "translation": 0, "color": 0}),
        "loss.augmentation",
        "all probabilities are 0",
    ),
    (("train.max_images", None), "train", "of max_images, max_minutes, not none"),
    (
        ("model.discriminator.width", 32),
        "train.warm_start.transfer",
        "equal width, but the generator has 64 and the discriminator 32",
    ),
    (
        ("model.discriminator.heads", 8),
        "train.warm_start.transfer",
        "equal heads, but the generator has 4 and the discriminator 8",
    ),
]


class TestOneMistake:
    @pytest.mark.parametrize(
        ("change", "key", "says"), UNKNOWN + WRONG_TYPE + NOT_IN_RANGE + MISSING + IMPOSSIBLE
    )
    def test_is_one_message_that_names_key_and_value(
        self, change: tuple[str, Any], key: str, says: str
    ) -> None:
        (problem,) = problems_of(change)
        assert problem.startswith(f"{key}: ")
        assert says in problem
        assert "\n" not in problem

    @pytest.mark.parametrize("role", ["generator", "discriminator"])
    def test_heads_that_do_not_divide_the_width(self, role: str) -> None:
        (problem,) = problems_of((f"model.{role}.width", 66), ("train.warm_start.share", 0))
        assert problem == (
            f"model.{role}.heads: 4 heads do not divide the width 66; choose a divisor of 66"
        )

    def test_each_missing_section_is_named_and_optional_ones_are_not(self) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_config({})
        assert keys_of(caught.value.problems) == ["data", "tasks", "model", "train"]


class TestAllowed:
    """Near misses of the mistakes above, which must not be refused."""

    @pytest.mark.parametrize(
        "changes",
        [
            [],
            [("data.image_size", [8, 12])],
            [("train.learning_rate.generator", 1)],
            [components(), ("train.warm_start.share", 0)],
            [("tasks.preset", "joint"), ("train.warm_start.share", 0)],
            [("tasks", {"components": [{"name": "unused", "weight": 0}, CONDITIONAL]})],
            [target(uniform=[0.0, 1.0])],
            [target(uniform=[0.5, 0.5])],
            [("loss.communication", 0.5), ("loss.logistic", 1.0)],
            [("loss.fakes_per_real", 1), ("loss.energy_score", 0)],
            [("model.discriminator.width", 32), ("train.warm_start.share", 0.0)],
            [("model.discriminator.width", 32), ("train.warm_start.transfer", "nothing")],
            [("model.discriminator.heads", 8), ("train.warm_start.transfer", "nothing")],
            [("data", FOLDER | {"unlabeled": "more"}), ("loss.pseudo_labels", {})],
            [("data", FOLDER | {"unlabeled": ".", "labeled_images": 3})],
        ],
    )
    def test_is_accepted(self, changes: list[tuple[str, Any]]) -> None:
        assert problems_of(*changes) == ()

    def test_rectangular_sizes_give_rows_and_columns(self) -> None:
        config = parse_config(changed(("data.image_size", [6, 14]), ("data.channels", 3)))
        assert config.data.image_size == (6, 14)
        assert config.grid_size == (3, 7)
        assert config.token_count == 21
        assert config.token_dim == 12

    def test_one_number_is_a_square(self) -> None:
        assert parse_config(BASE).data.image_size == (8, 8)

    def test_scores_are_absolute_only_with_a_logistic_term(self) -> None:
        assert not parse_config(BASE).absolute_scores
        assert parse_config(changed(("loss.logistic", 0.1))).absolute_scores


# Mistakes of single values, by the key that the message begins with.
BAD_VALUES: dict[str, Any] = {
    "color": "red",
    "data.nam": "digits",
    "data.channels": 2,
    "data.download": "no",
    "tasks.preset": "mea",
    "tasks.weights": [1.0],
    "model.patch_size": 0,
    "model.generator.width": "64",
    "model.discriminator.dropout": 0.5,
    "loss.penalty.kind": "approximate",
    "loss.energy_score": -1.0,
    "train.seed": -1,
    "train.warm_start.learning_rate": -1.0,
    "train.learning_rate.generator": None,
    "logging.tensorboard": "yes",
    "logging.interval": 3,
}
# Impossible combinations: by the key of the message, the change, and the sections it lies in.
BAD_COMBINATIONS: dict[str, tuple[tuple[str, Any], set[str]]] = {
    "data.image_size": (("data.image_size", [8, 13]), {"data", "model"}),
    "model.generator.heads": (("model.generator.heads", 5), {"model"}),
    "loss.communication": (("loss.communication", 1.0), {"loss"}),
    "train": (("train.max_minutes", 5.0), {"train"}),
    "train.warm_start.share": (("tasks.preset", "joint"), {"train", "tasks"}),
}


class TestSeveralMistakes:
    @given(st.sets(st.sampled_from(sorted(BAD_VALUES)), min_size=1))
    def test_any_bad_values_yield_one_message_each(self, keys: set[str]) -> None:
        problems = problems_of(*((key, BAD_VALUES[key]) for key in keys))
        assert sorted(keys_of(problems)) == sorted(keys)

    @given(
        st.sets(st.sampled_from(sorted(BAD_VALUES))),
        st.sets(st.sampled_from(sorted(BAD_COMBINATIONS))),
    )
    def test_combinations_join_them_where_their_sections_are_valid(
        self, keys: set[str], combinations: set[str]
    ) -> None:
        """A combination cannot be judged as long as a section that it lies in has bad values."""
        changes = [("train.warm_start.transfer", "nothing")]  # heads need not be equal
        changes += [BAD_COMBINATIONS[key][0] for key in combinations]
        changes += [(key, BAD_VALUES[key]) for key in keys]
        invalid = {key.split(".")[0] for key in keys}
        judged = {key for key in combinations if not BAD_COMBINATIONS[key][1] & invalid}
        assert sorted(keys_of(problems_of(*changes))) == sorted(keys | judged)

    def test_both_sides_of_an_image_are_judged(self) -> None:
        height, width = problems_of(("data.image_size", [7, 9]))
        assert "height 7" in height
        assert "width 9" in width

    def test_the_error_prints_one_line_per_problem(self) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_config(changed(("color", 1), ("train.seed", -1)))
        assert str(caught.value).splitlines() == list(caught.value.problems)
        assert len(caught.value.problems) == 2


class TestFile:
    def test_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "nowhere.yaml"
        assert file_problems(path) == (f"{path}: there is no such file",)

    def test_a_folder(self, tmp_path: Path) -> None:
        (problem,) = file_problems(tmp_path)
        assert problem.startswith(f"{tmp_path}: cannot be read (")

    def test_not_text(self, config_file: Path) -> None:
        config_file.write_bytes(b"\xff\xfe\x00")
        (problem,) = file_problems(config_file)
        assert problem.startswith(f"{config_file}: cannot be read (")

    @pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
    def test_empty(self, config_file: Path, text: str) -> None:
        config_file.write_text(text)
        assert file_problems(config_file) == (f"{config_file}: the file is empty",)

    @pytest.mark.parametrize("text", ["[data, tasks]", "digits", "3"])
    def test_no_mapping(self, config_file: Path, text: str) -> None:
        config_file.write_text(text)
        (problem,) = file_problems(config_file)
        assert "sections such as 'data:' are expected" in problem

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("data: [1", "at line 1, column 9"),
            ("data:\n\tname: digits", "at line 2, column 1"),
            ("data: 1\n---\ntasks: 2", "another document"),
            ("data: !!python/object:os.system x", "could not determine a constructor"),
            ("data: {day: 2001-13-45}", "month must be in 1..12"),
            ("[1]: 2", "unhashable key"),
        ],
    )
    def test_invalid_yaml(self, config_file: Path, text: str, says: str) -> None:
        config_file.write_text(text)
        (problem,) = file_problems(config_file)
        assert problem.startswith(f"{config_file}: is not valid YAML (")
        assert says in problem
        assert "\n" not in problem
        assert "<unicode string>" not in problem

    @pytest.mark.parametrize(
        ("text", "key"),
        [("data: 1\ndata: 2", "data"), ("train:\n  seed: 1\n  seed: 2\n", "seed")],
    )
    def test_duplicate_key(self, config_file: Path, text: str, key: str) -> None:
        config_file.write_text(text)
        (problem,) = file_problems(config_file)
        assert f"the key '{key}' is there twice" in problem

    @pytest.mark.parametrize(
        ("text", "number"),
        [("2e-3", 2e-3), ("1E+1", 10.0), (".5e1", 5.0), ("3.e0", 3.0), ("0.25", 0.25), ("7", 7.0)],
    )
    def test_numbers_with_an_exponent_are_numbers(
        self, config_file: Path, text: str, number: float
    ) -> None:
        values = yaml.safe_dump(changed(("train.learning_rate.generator", "NUMBER")))
        config_file.write_text(values.replace("NUMBER", text))
        assert load_config(config_file).train.learning_rate.generator == number


class TestOverrides:
    def test_replace_and_create_nested_keys(self, config_file: Path) -> None:
        config = load_config(
            config_file,
            [
                "data.image_size=[4, 6]",
                "data.download=false",
                "data.root=/some/where=else",
                "model.generator.width=32",
                "model.discriminator.width=32",
                "loss.penalty.r1=5e-1",
                "logging.tensorboard=false",
            ],
        )
        assert config.data.image_size == (4, 6)
        assert config.data.download is False
        assert config.data.root == "/some/where=else"
        assert config.model.generator.width == config.model.discriminator.width == 32
        assert config.loss.penalty.r1 == 0.5
        assert config.loss.relativistic == 1.0, "other keys of the file stay"
        assert config.logging.tensorboard is False

    def test_the_last_of_two_counts(self, config_file: Path) -> None:
        assert load_config(config_file, ["train.seed=1", "train.seed=2"]).train.seed == 2

    @pytest.mark.parametrize("override", ["", "train.seed", "=3", "train..seed=3", ".seed=3"])
    def test_syntax(self, config_file: Path, override: str) -> None:
        (problem,) = file_problems(config_file, override)
        assert problem == f"{override!r}: an override has the form key.sub=value"

    @pytest.mark.parametrize("text", ["[4, 6", "2001-13-45", "{a: 1, a: 2}"])
    def test_value_that_is_not_yaml(self, config_file: Path, text: str) -> None:
        (problem,) = file_problems(config_file, f"data.root={text}")
        assert problem.startswith(f"data.root: {text!r} is not a valid value (")

    def test_all_problems_of_file_and_overrides_together(self, config_file: Path) -> None:
        problems = file_problems(config_file, "nonsense", "train.sed=3", "data.channels=2", "a.b=1")
        assert problems[0].startswith("'nonsense': ")
        assert sorted(keys_of(problems[1:])) == ["a", "data.channels", "train.sed"]

    def test_a_budget_replaces_the_other_kind(self, config_file: Path) -> None:
        train = load_config(config_file, ["train.max_minutes=2"]).train
        assert (train.max_images, train.max_minutes) == (None, 2.0)
        config_file.write_text(yaml.safe_dump(changed(("train", {"max_minutes": 5}))))
        train = load_config(config_file, ["train.max_images=77"]).train
        assert (train.max_images, train.max_minutes) == (77, None)

    def test_both_budgets_are_refused(self, config_file: Path) -> None:
        overrides = ["train.max_minutes=2", "train.max_images=77"]
        assert keys_of(file_problems(config_file, *overrides)) == ["train"]

    def test_a_budget_beside_a_broken_section(self, config_file: Path) -> None:
        assert keys_of(file_problems(config_file, "train.max_minutes=2", "train=4")) == ["train"]


class TestResolved:
    """The configuration that a run saves is read back as an equal one."""

    @pytest.mark.parametrize(
        "changes",
        [
            [],
            [("data.image_size", [6, 14]), ("train", {"max_minutes": 1e-3})],
            [
                (
                    "tasks",
                    {
                        "components": [
                            {"name": "joint", "weight": 0.25},
                            {
                                "name": "holes",
                                "weight": 1,
                                "union": {"pattern": "iid", "ratio": {"count": 2}},
                                "target": {
                                    "pattern": "rectangle",
                                    "ratio": {"uniform": [0.1, 1e-1]},
                                    "inverted": True,
                                },
                            },
                            {
                                "name": "next",
                                "weight": 3,
                                "union": {"pattern": "raster_prefix", "ratio": {"fixed": 0.5}},
                                "target": {"pattern": "raster_prefix", "ratio": {"count": 1}},
                            },
                        ]
                    },
                )
            ],
        ],
    )
    def test_yaml_and_dictionary_read_back(
        self, tmp_path: Path, changes: list[tuple[str, Any]]
    ) -> None:
        config = parse_config(changed(*changes))
        path = tmp_path / "config.yaml"
        path.write_text(config.to_yaml())
        assert load_config(path) == config
        assert parse_config(config.to_dict()) == config

    def test_is_complete(self) -> None:
        """A later change of a default cannot change what a saved run was."""
        saved = parse_config(BASE).to_dict()
        assert list(saved) == list(Config.model_fields)
        assert saved["train"]["warm_start"]["share"] == 0.1
        assert saved["loss"]["penalty"]["kind"] == "exact"

    def test_cannot_be_changed(self) -> None:
        config = parse_config(BASE)
        with pytest.raises(ValueError, match="frozen"):
            config.train.seed = 3


class TestLabels:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"data.labels": True, "data.name": "celeba"}, "data.labels: celeba has no labels"),
            ({"data.classes": 3}, "data.classes: this key is only for a folder"),
            (
                {"data.labels": True, "data.classes": 3},
                "data.classes: this key is only for a folder",
            ),
            ({"tasks.label_conditioning": 1.5}, "tasks.label_conditioning: 1.5 is not allowed"),
        ],
    )
    def test_impossible_labels_are_refused(
        self, changes: dict[str, Any], message: str, tiny_config: Callable[..., Config]
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            tiny_config(changes)


class TestPartialPatches:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"model.patch_size": 1},
                "tasks.partial_patches: no hole cuts through a patch of one pixel",
            ),
            (
                {
                    "tasks": {
                        "components": [{"name": "x", "weight": 1, "domain": "orthogonal"}],
                        "partial_patches": 0.5,
                    },
                    "model.generator.output": "linear",
                    "train.warm_start.share": 0.0,
                },
                "holds no pixels; set tasks.partial_patches to 0",
            ),
        ],
    )
    def test_impossible_ones_are_refused(
        self, tiny_config: Callable[..., Config], changes: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            tiny_config({"tasks.partial_patches": 0.5} | changes)
