"""Small real image sets that come inside the package, so that everything runs with nothing downloaded."""

from __future__ import annotations

from importlib.resources import files

import mosaic
from mosaic_data.references import DIGITS

__all__ = ["Digits"]


class Digits(mosaic.DataSource):
    """1,797 handwritten digits of 8 x 8 grey pixels, about 180 a class.

    References: Alpaydin & Kaynak 1998, doi:10.24432/C50P49 (CC BY 4.0; see DIGITS-LICENSE.txt).
    """

    name = "digits"
    references = (DIGITS,)

    def read(self) -> mosaic.DataSet:
        """Read the set: images (1797, 1, 8, 8), range [-1, 1] in steps of 1/8, and labels 0 to 9."""
        import numpy as np
        import torch

        with (
            files("mosaic_data").joinpath("digits.npz").open("rb") as stream,
            np.load(stream, allow_pickle=False) as arrays,
        ):
            images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
        return mosaic.DataSet(
            name=self.name,
            images=images[:, None].float() / 8 - 1,
            labels=labels.long(),
            classes=tuple("0123456789"),
            training={"epochs": 200, "learning_rate": 2e-3, "networks": {"resnet": {"channels": 64, "blocks": 2}}},
            origin="UCI Optical Recognition of Handwritten Digits, doi:10.24432/C50P49, CC BY 4.0 (embedded)",
        )


@mosaic.hookimpl
def register_datasets(register: mosaic.Register) -> None:
    register(Digits)
