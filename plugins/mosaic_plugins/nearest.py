"""The limits of IS and ELS at vanishing noise, used at every level: nearest training image, nearest patches."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

import mosaic
from mosaic_plugins.machines import IS, EquivariantWindows
from mosaic_plugins.references import KAMB

__all__ = ["Nearest", "NearestPatch"]

NEAREST = mosaic.Level(1.0, 0.1)  # which candidate is nearest is the same at any level


class Nearest(IS):
    """The training image nearest to x / a: the limit of the ideal score machine at vanishing noise, at every level.

    The paper's: no paper proposes it as a theory.
    The published code's: Lukoianov et al. 2025 retrieve the nearest image as a baseline. Not compared.
    Ours: the limit of Kamb & Ganguli 2025, eqs. 3-4, at every level.
    """

    name = "nearest"

    def posterior(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give the posterior that is certain of the nearest image; of equally near ones the first."""
        compute = replace(compute, diagnostics=True)
        return mosaic.ideal_posterior(x / level.signal, images, NEAREST, compute=compute).certain(images)


class NearestPatch(EquivariantWindows):
    """Each pixel the centre of the training window nearest to its own: the limit of ELS, at every level.

    References: Kamb & Ganguli 2025, theorem 4.1.

    The paper's: that the flow of ELS ends there.
    The published code's: not compared.
    Ours: the limit at every level.
    """

    name = "nearest-patch"
    references = (KAMB,)

    def posterior(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give the posteriors that are certain of the nearest windows."""
        compute = replace(compute, diagnostics=True)
        posterior = mosaic.equivariant_local_posterior(
            x / level.signal, images, NEAREST, self.extent(scale), self.options.boundary, compute=compute
        )
        return posterior.certain(images)


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(Nearest)
    register(NearestPatch)
