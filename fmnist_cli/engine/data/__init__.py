"""Fashion-MNIST, or a custom data set of its form: found, fetched, verified, split."""

from fmnist_cli.engine.data.cache import cache_folder as cache_folder
from fmnist_cli.engine.data.dataset import Dataset as Dataset
from fmnist_cli.engine.data.dataset import load as load
from fmnist_cli.engine.data.idx import write_idx as write_idx
from fmnist_cli.engine.data.official import FILES as FILES
from fmnist_cli.engine.data.official import LICENCE as LICENCE
from fmnist_cli.engine.data.official import OFFICIAL_FINGERPRINT as OFFICIAL_FINGERPRINT
from fmnist_cli.engine.data.official import fingerprint as fingerprint
from fmnist_cli.engine.data.sources import fetch as fetch
from fmnist_cli.engine.data.sources import find as find
from fmnist_cli.engine.data.sources import info as info
from fmnist_cli.engine.data.sources import verify as verify
