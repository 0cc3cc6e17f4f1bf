"""The second interface: any network, known by its forward pass only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_cli.engine.backend import Split
from fmnist_cli.usercode.network_checks import check_interface, check_network


class Network:
    """tanh between two linear layers: nothing that the first interface has."""

    factor = 1.0

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.p = {"V": rng.normal(0, 0.1, (784, 12)), "U": rng.normal(0, 0.3, (12, 10)),
                  "c": np.zeros(10)}  # fmt: skip
        self.g: dict[str, Any] = {name: np.zeros_like(a) for name, a in self.p.items()}

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x, self.h = x, np.tanh(x @ self.p["V"])
        return self.h @ self.p["U"] + self.p["c"]

    def backward(self, d: np.ndarray) -> None:
        dh = d @ self.p["U"].T * (1 - self.h**2)
        self.g = {"V": self.x.T @ dh, "U": self.h.T @ d, "c": d.sum(axis=0)}

    def parameters(self) -> dict[str, np.ndarray]:
        return self.p

    def gradients(self) -> dict[str, Any]:
        return self.g


class ReluNetwork(Network):
    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x, self.h = x, np.maximum(x @ self.p["V"], 0)
        return self.h @ self.p["U"] + self.p["c"]

    def backward(self, d: np.ndarray) -> None:
        dh = d @ self.p["U"].T * (self.h > 0)
        self.g = {"V": self.x.T @ dh, "U": self.h.T @ d, "c": d.sum(axis=0)}


class Single(Network):
    def __init__(self) -> None:
        super().__init__()
        self.p = {name: a.astype(np.float32) for name, a in self.p.items()}

    def forward(self, x: np.ndarray) -> np.ndarray:
        return super().forward(x.astype(np.float32))


@pytest.mark.parametrize("kind", [Network, ReluNetwork, Single])
@pytest.mark.parametrize("seed", range(5))
def test_a_right_network_raises_no_alarm(kind: type, seed: int, images: Split) -> None:
    report = check_network(kind(), images, seed=seed)
    assert [(r.check, r.message) for r in report.results if r.status != "passed"] == []


def spoiled(name: str, spoil: Any) -> Network:
    class Spoiled(Network):
        def backward(self, d: np.ndarray) -> None:
            super().backward(d)
            self.g[name] = spoil(self.g[name], len(d), self)

    return Spoiled()


@pytest.mark.parametrize(
    ("spoil", "mistake"),
    [
        (lambda g, n, s: g / n, "mean-twice"),
        (lambda g, n, s: g * n, "mean-missing"),
        (lambda g, n, s: -g, "gradient-sign"),
        (lambda g, n, s: 0 * g, "gradient-zero"),
        (lambda g, n, s: 1.01 * g, ""),
        (lambda g, n, s: np.abs(g), ""),
    ],
)
@pytest.mark.parametrize("name", ["V", "U", "c"])
def test_a_wrong_gradient_is_refused_and_named(
    spoil: Any, mistake: str, name: str, images: Split
) -> None:
    result = check_network(spoiled(name, spoil), images).result("network_gradients")
    assert result.status == "failed"
    assert result.diagnosis is not None
    assert result.diagnosis.mistake == mistake
    assert name in result.message


def test_gradients_that_add_up_are_refused(images: Split) -> None:
    class Adding(Network):
        def backward(self, d: np.ndarray) -> None:
            before = self.g
            super().backward(d)
            self.g = {name: before[name] + g for name, g in self.g.items()}

    report = check_network(Adding(), images)
    assert "gradient-accumulates" in report.mistakes


def test_an_overwritten_input_is_refused(images: Split) -> None:
    class Overwriting(Network):
        def forward(self, x: np.ndarray) -> np.ndarray:
            logits = super().forward(x.copy())
            x *= 0
            return logits

    assert check_network(Overwriting(), images).result("network_inputs").status == "failed"


def test_wrong_shapes_and_missing_methods_are_told(images: Split) -> None:
    assert "must have the methods" in check_network(object(), images).result("loads").message
    narrow = Network()
    narrow.p |= {"U": narrow.p["U"][:, :4], "c": narrow.p["c"][:4]}
    assert "(5, 4)" in check_network(narrow, images).result("network_shapes").message or (
        not check_network(narrow, images).holds
    )


def test_a_factory_in_a_module_is_checked_in_a_process(tmp_path: Path, images: Split) -> None:
    source = Path(__file__).read_text().partition("@pytest")[0]
    text = "\n".join(line for line in source.splitlines() if "fmnist_cli" not in line)
    (tmp_path / "mynet.py").write_text(text.replace("import pytest\n", ""))
    report = check_interface("mynet:Network", images, folder=tmp_path)
    assert report.holds, [r.message for r in report.results]
    missing = check_interface("mynet:Nothing", images, folder=tmp_path)
    assert "has no attribute 'Nothing'" in missing.result("loads").message
