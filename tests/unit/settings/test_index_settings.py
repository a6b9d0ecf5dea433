from collections.abc import Callable

import pytest

from hybrid_search.errors import ConfigError
from hybrid_search.loading.load import LoadOptions
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings
from hybrid_search.settings.training import TowerConfig, TrainConfig


def test_settings_come_back_from_their_json() -> None:
    config = TrainConfig(negatives=((0.0, {"random": 1.0}), (0.3, {"bm25": 0.8, "in_row": 0.2})), rank_window=(2, 9))
    assert TrainConfig.from_json(config.to_json(), source="x") == config


def test_equal_settings_have_equal_bytes() -> None:
    assert Bm25(b=0.4, k1=0.9).to_json() == Bm25(k1=0.9, b=0.4).to_json() == b'{"b":0.4,"k1":0.9}'


def test_an_unknown_name_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match="learning_rat"):
        TrainConfig.from_mapping({"learning_rat": 1}, source="options")


def test_a_setting_that_is_gone_is_refused_by_its_name_in_a_file_of_an_older_version() -> None:
    with pytest.raises(ConfigError, match=r"old\.json: .*unknown field `matryoshka`"):
        TrainConfig.from_json('{"matryoshka": [64, 128]}', source="old.json")


def test_a_wrong_type_names_the_setting_first() -> None:
    with pytest.raises(ConfigError, match=r"settings\.json: hidden: expected `int`, got `str`"):
        TowerConfig.from_json('{"hidden": "wide"}', source="settings.json")


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        (Bm25, {"b": 1.5}, "b is 1.5"),
        (Fusion, {"weights": [0.9, 0.4]}, "sum to 1"),
        (Fusion, {"method": "z_score", "combination": "geometric"}, "arithmetic with z_score"),
        (TowerConfig, {"hidden": 999_999_999}, "from 1 to 4096"),
        (TowerConfig, {"encoder": "transformer"}, "trunk"),
        (TrainConfig, {"seed": -5}, "seed is -5"),
        (TrainConfig, {"self_supervised": 1e9}, "a number from 0 to 64"),
        (TrainConfig, {"batch_size": 1}, "batch_size is 1; it must be a whole number from 2 to 65536"),
        (TrainConfig, {"vocabulary": 0}, "from 16"),
        (TrainConfig, {"loss": "kl"}, "teacher_scores"),
        (TrainConfig, {"negatives": []}, "a mix from 0 on"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_it_must_be(
    settings: type[Bm25], values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        settings.from_mapping(values, source="options")


def test_a_change_is_checked_again() -> None:
    with pytest.raises(ConfigError, match="k1 is 11"):
        Bm25().replace(k1=11)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fusion(rank_constant=None), r"rank_constant is None: expected `int`, got `null`"),  # type: ignore[arg-type]
        (lambda: Fusion(weights=("a", 0.5)), r"weights is \('a', 0\.5\): "),  # type: ignore[arg-type]
        (lambda: Bm25(b="\ud800"), r"b is '\\ud800': "),  # type: ignore[arg-type]
        (lambda: IndexSettings(bm25=object()), r"bm25 is an object of type object: "),  # type: ignore[arg-type]
        (lambda: Fusion(window=10**5000), r"window is a int that is too large to show"),
    ],
)
def test_settings_of_a_wrong_type_are_refused_by_a_constructor_too(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_list_given_to_a_constructor_becomes_the_tuple_that_is_stored() -> None:
    assert Fusion(weights=[0.3, 0.7]).weights == (0.3, 0.7)  # type: ignore[arg-type]


def test_a_message_can_be_printed_and_ends_whatever_it_quotes() -> None:
    message = str(ConfigError("\ud800" + "x" * 10_000 + "end"))
    assert message.startswith("\\ud800xxx")
    assert message.endswith("xend")
    assert len(message) < 3_100


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"fields": range(3)}, "fields is an object of type range: it must be a Mapping"),
        ({"server": {}}, r"server is \{\}: it must be a ServerLoad"),
        ({"layout": {"shards": 2}}, r"layout is .*: it must be a ServerOptions"),
        ({"fields": None}, "fields is None"),
    ],
)
def test_options_take_no_other_kind_of_value_in_place_of_a_record_or_a_mapping(
    values: dict[str, object], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        LoadOptions(**values)
