"""The config file: what is accepted, and that each complaint says where and what to do."""

from datetime import timedelta
from pathlib import Path

import pytest

from distributor.errors import ConfigError, UsageError
from distributor.rollout.state import Requirement
from distributor.settings import load_settings

GOOD = """\
[master]
url = "postgresql://m:${env:MASTER_PASSWORD}@localhost/m"
quiet_period = "200ms"

[master.datasets.products]
table = "public.products"
key = ["sku"]

[master.datasets.prices]
table = "prices"
references = {sku = "products"}

[ledger]
url = "postgresql://l@localhost/l"

[broker]
url = "amqp://localhost"

[store]
path = "store"

[environments.prod]
follow = "auto"
flip_lead = "1.5s"

[environments.prod.systems.sales]
adapter = "postgresql"
url = "postgresql://s@localhost/s"

[environments.prod.systems.pos]
adapter = "sqlite"
url = "sqlite:///pos.db"
required = false

[[systems.pos.tables]]
dataset = "products"
into = "articles"
"""


def read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "distributor.toml"
    path.write_text(text)
    return load_settings(path, {"MASTER_PASSWORD": "secret"})


def test_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "distributor.toml"
    path.write_text(GOOD)
    settings = load_settings(path, {"MASTER_PASSWORD": "secret"})
    prod = settings.environment("prod")
    assert settings.master.url == "postgresql://m:secret@localhost/m"
    assert settings.master.quiet_period == timedelta(milliseconds=200)
    assert prod.timing.flip_lead == timedelta(seconds=1.5)
    assert prod.requirements == {"sales": Requirement.REQUIRED, "pos": Requirement.OPTIONAL}
    assert [t.into for t in settings.mapping("pos").tables] == ["articles"]
    assert [t.into for t in settings.mapping("sales").tables] == ["products", "prices"]
    assert settings.resolve(settings.store.path) == tmp_path / "store"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('follow = "auto"', 'folow = "auto"', ":23: unknown key 'environments.prod.folow'; did you mean 'follow'?"),
        ("quiet_period", "quite_period", ":3: unknown key 'master.quite_period'; did you mean 'quiet_period'?"),
        ('into = "articles"', 'intoo = "articles"', "unknown key 'systems.pos.tables.intoo'; did you mean 'into'?"),
        ("required = false", "requierd = false", ":33: unknown key 'environments.prod.systems.pos.requierd'"),
        ("[broker]", "[brokers]", "unknown key 'brokers'; did you mean 'broker'?"),
        ('flip_lead = "1.5s"', 'flip_lead = "soon"', ":24: environments.prod.flip_lead: a duration is a number"),
        ('dataset = "products"\ninto', 'dataset = "product"\ninto', "there is no dataset 'product'"),
        ('references = {sku = "products"}', 'references = {sku = "goods"}', "there is no dataset 'goods'"),
        ("MASTER_PASSWORD", "NOT_SET", "needs the environment variable NOT_SET, which is not set. Set NOT_SET."),
        ('[store]\npath = "store"', "[store]", "'store.path' is missing"),
        ('[store]\npath = "store"', "", "'store' is missing; add [store] with path = …"),
        ("[ledger]", "[ledger", "this is not TOML"),
    ],
)
def test_each_complaint_says_where_and_what(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert said in str(caught.value)
    assert "distributor.toml" in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_settings(tmp_path / "none.toml", {})


def test_an_unknown_environment_names_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "distributor.toml"
    path.write_text(GOOD)
    with pytest.raises(UsageError, match=r"there is no environment 'uat'. Known: prod"):
        load_settings(path, {"MASTER_PASSWORD": "x"}).environment("uat")
